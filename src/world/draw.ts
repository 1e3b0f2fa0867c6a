import * as mdi from "@mdi/js";
import sharp from "sharp";
import type { Size } from "../core/size.ts";
import type { RgbImage } from "../media/media.ts";
import type { Dice } from "./dice.ts";
import type { Colour, Icon, Shape } from "./language.ts";
import { lettering } from "./lettering.ts";
import type { Scenery } from "./scenery.ts";

/** Marks on pictures, as SVG. Lengths are pixels of the unscaled picture. */

export const PAINTS: Readonly<Record<Colour, string>> = {
  red: "#dc1e1e",
  orange: "#ff8c00",
  yellow: "#fae11e",
  green: "#149632",
  blue: "#2850f0",
  purple: "#8c1eb4",
  pink: "#ff96be",
  black: "#141414",
};

/** Outlines in a square of 24. */
const SHAPE_PATHS: Readonly<Record<Shape, string>> = {
  circle: mdi.mdiCircle,
  square: "M3 3H21V21H3Z",
  triangle: mdi.mdiTriangle,
  star: mdi.mdiStar,
  heart: mdi.mdiHeart,
  cross: mdi.mdiPlusThick,
  house: mdi.mdiHome,
  fish: mdi.mdiFish,
  tree: mdi.mdiPineTree,
  moon: "M18.5 2.5A10 10 0 1 0 18.5 21.5A12 12 0 0 1 18.5 2.5Z",
};

const ICON_PATHS: Readonly<Record<Icon, string>> = {
  Mail: mdi.mdiEmail,
  Camera: mdi.mdiCamera,
  Phone: mdi.mdiPhone,
  Music: mdi.mdiMusic,
  Clock: mdi.mdiClock,
  Photo: mdi.mdiImage,
  Settings: mdi.mdiCog,
  Search: mdi.mdiMagnify,
  Save: mdi.mdiContentSave,
  Trash: mdi.mdiDelete,
  Printer: mdi.mdiPrinter,
  Folder: mdi.mdiFolder,
  Lock: mdi.mdiLock,
  Bell: mdi.mdiBell,
  Cloud: mdi.mdiCloud,
  Globe: mdi.mdiEarth,
};

/** Two digits behind the point are enough for a pixel. */
const n = (value: number): string => String(Math.round(value * 100) / 100);

/** A square of 24 that is `size` wide, with its centre at x, y. */
function glyph(path: string, paint: string, x: number, y: number, size: number): string {
  const corner = `translate(${n(x - size / 2)} ${n(y - size / 2)}) scale(${n(size / 24)})`;
  return `<path transform="${corner}" d="${path}" ${paint}/>`;
}

/** An object, with a fine line around it that sets it off from a pale or dark background. */
export const shapeMark = (
  shape: Shape,
  colour: Colour,
  x: number,
  y: number,
  size: number,
  { dark }: Pick<Background, "dark">,
): string => {
  const line = dark ? `stroke="#fff" stroke-opacity=".7"` : `stroke="#000" stroke-opacity=".35"`;
  // The outlines leave a margin in their square.
  return glyph(SHAPE_PATHS[shape], `fill="${PAINTS[colour]}" ${line} stroke-width=".6"`, x, y, size * 1.1);
};

export const iconMark = (icon: Icon, fill: string, x: number, y: number, size: number): string =>
  glyph(ICON_PATHS[icon], `fill="${fill}"`, x, y, size * 1.15);

export const cursorMark = (x: number, y: number, size: number): string =>
  glyph(mdi.mdiCursorDefault, `fill="#000" stroke="#fff" stroke-width="1.5"`, x, y, size);

export const checkMark = (x: number, y: number, size: number): string =>
  glyph(mdi.mdiCheckBold, `fill="#149632"`, x, y, size);

export const arrowMark = (fill: string, x: number, y: number, size: number): string =>
  glyph(mdi.mdiArrowRightBold, `fill="${fill}"`, x, y, size);

/** Text whose middle is at x, y. */
export function textMark(text: string, fill: string, x: number, y: number, capitals: number): string {
  const { path, width } = lettering(text);
  const scale = capitals / 100;
  const corner = `translate(${n(x - (width * scale) / 2)} ${n(y + capitals / 2)}) scale(${Math.round(scale * 1e4) / 1e4})`;
  return `<path transform="${corner}" d="${path}" fill="${fill}"/>`;
}

export interface BoxStyle {
  fill: string;
  stroke?: string;
  line?: number;
  round?: number;
}

/** A rectangle whose middle is at x, y. */
export function boxMark(
  x: number,
  y: number,
  width: number,
  height: number,
  { fill, stroke, line = 0, round = 0 }: BoxStyle,
): string {
  const border = stroke ? ` stroke="${stroke}" stroke-width="${n(line)}"` : "";
  const corner = `x="${n(x - width / 2)}" y="${n(y - height / 2)}" width="${n(width)}" height="${n(height)}"`;
  return `<rect ${corner} rx="${n(round)}" fill="${fill}"${border}/>`;
}

export const ringMark = (stroke: string, x: number, y: number, radius: number, line: number): string =>
  `<circle cx="${n(x)}" cy="${n(y)}" r="${n(radius)}" fill="none" stroke="${stroke}" stroke-width="${n(line)}"/>`;

export const discMark = (fill: string, stroke: string, x: number, y: number, radius: number): string =>
  `<circle cx="${n(x)}" cy="${n(y)}" r="${n(radius)}" fill="${fill}" stroke="${stroke}" stroke-width="${n(radius / 8)}"/>`;

export const ellipseMark = (fill: string, x: number, y: number, rx: number, ry: number): string =>
  `<ellipse cx="${n(x)}" cy="${n(y)}" rx="${n(rx)}" ry="${n(ry)}" fill="${fill}"/>`;

// ---------------------------------------------------------------------------------------------- backgrounds

/** What lies behind: pale or dark, from one shade to another, perhaps striped. */
export interface Background {
  dark: boolean;
  from: string;
  to: string;
  upright: boolean;
  striped: boolean;
  /** Levels by which pixels differ at random, at most. */
  noise: number;
}

export function drawBackground(dice: Dice): Background {
  const dark = dice.chance(0.2);
  const base = dark ? dice.between(25, 55) : dice.between(205, 250);
  const shade = () => {
    const levels = [0, 1, 2].map(() => Math.round(Math.min(255, base + dice.between(-12, 12))));
    return `rgb(${levels.join()})`;
  };
  const from = shade();
  const to = dice.chance(0.5) ? shade() : from;
  return { dark, from, to, upright: dice.chance(0.5), striped: dice.chance(0.2), noise: dice.whole(0, 5) };
}

/** Colours that stand out from a background. */
export const visibleOn = (background: Background, colour: Colour): boolean =>
  !(background.dark && colour === "black");

export function backgroundMark(
  { dark, from, to, upright, striped }: Background,
  { width, height }: Size,
): string {
  const name = `${from}${to}${upright}`.replace(/\W/g, "_");
  const end = upright ? `x2="0" y2="1"` : `x2="1" y2="0"`;
  const shades = `<stop offset="0" stop-color="${from}"/><stop offset="1" stop-color="${to}"/>`;
  const gradient = `<linearGradient id="${name}" x1="0" y1="0" ${end}>${shades}</linearGradient>`;
  const ground = `<rect width="${n(width)}" height="${n(height)}" fill="url(#${name})"/>`;
  if (!striped) return gradient + ground;
  const gap = Math.max(width, height) / 12;
  const lines = Array.from({ length: 12 }, (_, i) =>
    upright ? `M0 ${n((i + 0.5) * gap)}H${n(width)}` : `M${n((i + 0.5) * gap)} 0V${n(height)}`,
  );
  const line = `stroke="${dark ? "#fff" : "#000"}" stroke-opacity=".06" stroke-width="${n(gap / 2.5)}"`;
  return `${gradient}${ground}<path d="${lines.join("")}" ${line}/>`;
}

// ------------------------------------------------------------------------------------------------ rendering

/** Rows of one drawing at most: the renderer's surfaces end at 32767. */
const STRIP_ROWS = 4096;

/**
 * Draws pictures of one size. A film is drawn in strips, for a call costs more than a frame; pictures with the same
 * marks, one after the other, are drawn once and share their memory.
 */
export async function render(
  { size, pictures, noise }: Scenery,
  scale: number,
  noiseSeed: number,
): Promise<RgbImage[]> {
  const width = Math.round(size.width * scale);
  const height = Math.round(size.height * scale);
  const changes = pictures.filter((marks, i) => marks !== pictures[i - 1]);
  const perStrip = Math.max(1, Math.floor(STRIP_ROWS / height));
  const drawn: RgbImage[] = [];
  for (let first = 0; first < changes.length; first += perStrip) {
    const strip = await renderStrip(changes.slice(first, first + perStrip), size, { width, height });
    for (const image of strip) addNoise(image.data, noise, noiseSeed + drawn.push(image));
  }
  let change = -1;
  return pictures.map((marks, i) => drawn[marks === pictures[i - 1] ? change : ++change] as RgbImage);
}

/** Draws pictures one below the other. */
async function renderStrip(pictures: readonly string[], from: Size, to: Size): Promise<RgbImage[]> {
  const { width, height } = to;
  const scaling = `scale(${width / from.width} ${height / from.height})`;
  const parts = pictures.map(
    (marks, i) =>
      `<svg y="${i * height}" width="${width}" height="${height}"><g transform="${scaling}">${marks}</g></svg>`,
  );
  const open = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height * pictures.length}">`;
  const svg = Buffer.from(`${open}${parts.join("")}</svg>`);
  const pixels = await sharp(svg, { unlimited: true }).removeAlpha().raw().toBuffer();
  const length = 3 * width * height;
  return pictures.map((_, i) => ({
    width,
    height,
    data: new Uint8Array(pixels.subarray(i * length, (i + 1) * length)),
  }));
}

/** Brightens or darkens each pixel a little. */
function addNoise(data: Uint8Array, levels: number, seed: number): void {
  if (levels === 0) return;
  let state = (seed ^ 0x9e3779b9) | 1;
  const span = 2 * levels + 1;
  for (let i = 0; i < data.length; i += 3) {
    state ^= state << 13; // xorshift: ten times faster than a good generator, and noise need not be good
    state ^= state >>> 17;
    state ^= state << 5;
    const level = (((state >>> 16) * span) >>> 16) - levels;
    for (let c = i; c < i + 3; c++) {
      const value = (data[c] as number) + level;
      data[c] = value < 0 ? 0 : value > 255 ? 255 : value;
    }
  }
}
