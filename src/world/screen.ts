import type { Size } from "../core/size.ts";
import type { Candidate } from "./conversation.ts";
import type { Dice } from "./dice.ts";
import {
  arrowMark,
  type BoxStyle,
  boxMark,
  checkMark,
  cursorMark,
  discMark,
  iconMark,
  ringMark,
} from "./draw.ts";
import { drawSight, type Sight } from "./eye.ts";
import { filmSizes } from "./film.ts";
import {
  ASK_FILM,
  ASK_STEPS,
  countWord,
  GOALS,
  ICONS,
  type Icon,
  listSteps,
  type Step,
  so,
  stepAfter,
  tellStep,
  tellSteps,
  VERBS,
  type Verb,
} from "./language.ts";
import type { Easy } from "./sample.ts";
import type { Scenery } from "./scenery.ts";
import { heldOutSteps } from "./split.ts";

/** A recorded screen: each frame is one step, done to one of the icons of an app's window. */

export interface Theme {
  window: string;
  bar: string;
  tile: string;
  icon: string;
}

const THEMES: readonly Theme[] = [
  { window: "#f2f2f5", bar: "#c8ccd6", tile: "#ffffff", icon: "#23262e" },
  { window: "#e6eef5", bar: "#9db4c8", tile: "#ffffff", icon: "#1c3144" },
  { window: "#f3ece2", bar: "#cdb898", tile: "#fffaf2", icon: "#40301a" },
  { window: "#33363d", bar: "#555a66", tile: "#484c56", icon: "#f2f2f2" },
];

/** How an icon is acted on: a red ring, a blue window, a green field with a caret, a purple arrow. */
const CUES: Readonly<Record<Verb, { line: string; paper: string }>> = {
  click: { line: "#e02020", paper: "#ffe4e0" },
  open: { line: "#1e5af0", paper: "#e0ecff" },
  type: { line: "#0a9a3c", paper: "#e0f6e4" },
  drag: { line: "#a020c8", paper: "#f4e0fa" },
};
const INK = "#23262e";

/** Encoded pixels of a tile's cell at least. */
export const LEAST_TILE = 46;
/** The title bar's height by the window's. */
const BAR = 0.08;

/** A recording with what can be asked of it; the list of its steps comes first. */
export function drawRecording(
  dice: Dice,
  heldOut: boolean,
  easy?: Easy,
): { scenery: Scenery; candidates: Candidate[] } {
  const steps = dice.until(() => drawSteps(dice, heldOut, easy), "steps");
  const grid = dice.until(() => drawGrid(dice, easy), "a window");
  const theme = drawTheme(dice);
  const frames = steps.map((step) => windowMarks(dice, grid, theme, step));
  const framed = easy === undefined;
  if (framed && dice.chance(0.5)) frames.unshift(windowMarks(dice, grid, theme));
  if (framed && dice.chance(0.5)) frames.push(doneMarks(grid.sight.size, theme));
  const scenery = { size: grid.sight.size, pictures: frames, noise: dice.whole(0, 3), shown: [] };
  return { scenery, candidates: stepCandidates(dice.pick(GOALS), steps) };
}

function drawSteps(dice: Dice, heldOut: boolean, easy?: Easy): Step[] | undefined {
  const icons = dice.some(ICONS, easy ? dice.whole(1, easy.things) : dice.whole(3, 5));
  const pairs = icons.slice(1).map((icon, i) => heldOutSteps(icons[i] as Icon, icon));
  if (pairs.includes(true) !== heldOut) return undefined;
  return icons.map((icon) => ({ verb: dice.pick(VERBS), icon }));
}

interface Grid {
  sight: Sight;
  columns: number;
  rows: number;
}

function drawGrid(dice: Dice, easy?: Easy): Grid | undefined {
  const sight = drawSight(dice, filmSizes(easy), "video");
  const columns = dice.whole(1, Math.floor(sight.encoded.width / LEAST_TILE));
  const rows = dice.whole(1, Math.floor(((1 - BAR) * sight.encoded.height) / LEAST_TILE));
  const tiles = columns * rows;
  return tiles >= (easy ? 1 : 2) && tiles <= 4 ? { sight, columns, rows } : undefined;
}

/** The window alone. */
export const groundMark = ({ window }: Theme, { width, height }: Size): string =>
  boxMark(width / 2, height / 2, width, height, { fill: window });

export const drawTheme = (dice: Dice): Theme => dice.pick(THEMES);

const frameMarks = ({ width, height }: Size, theme: Theme): string => {
  const high = BAR * height;
  const dots = ["#e0605a", "#e0b050", "#60b060"].map((fill, i) =>
    discMark(fill, fill, high * (0.7 + 0.9 * i), high / 2, high * 0.28),
  );
  const top = boxMark(width / 2, high / 2, width, high, { fill: theme.bar });
  return groundMark(theme, { width, height }) + top + dots.join("");
};

/** A window with the icon of the step and others, each on its tile. */
function windowMarks(dice: Dice, { sight, columns, rows }: Grid, theme: Theme, step?: Step): string {
  const { width, height } = sight.size;
  const bar = BAR * height;
  const cell = { width: width / columns, height: (height - bar) / rows };
  const side = Math.min(cell.width, cell.height, 64 / sight.shrink);
  const acted = dice.whole(0, columns * rows - 1);
  const others = dice.some(
    ICONS.filter((icon) => icon !== step?.icon),
    columns * rows,
  );
  const tiles = others.map((other, i) => {
    const x = ((i % columns) + 0.5) * cell.width;
    const y = bar + (Math.floor(i / columns) + 0.5) * cell.height;
    if (step === undefined || i !== acted) return tileMark(theme, other, x, y, side);
    return actedMark(step, x, y, side);
  });
  return frameMarks(sight.size, theme) + tiles.join("");
}

export const tileMark = (
  { tile, icon: ink }: Theme,
  icon: Icon,
  x: number,
  y: number,
  side: number,
): string =>
  boxMark(x, y, 0.8 * side, 0.8 * side, { fill: tile, round: 0.12 * side }) +
  iconMark(icon, ink, x, y, 0.62 * side);

/** An icon with the sign of what is done to it, and the cursor. */
export function actedMark({ verb, icon }: Step, x: number, y: number, side: number): string {
  const { line, paper } = CUES[verb];
  const tile = (up: number) =>
    boxMark(x, y, 0.9 * side, 0.9 * side, { fill: paper, round: 0.1 * side }) +
    iconMark(icon, INK, x, y - up * side, 0.56 * side);
  const width = 0.09 * side;
  const cursor = cursorMark(x + 0.36 * side, y + 0.36 * side, 0.32 * side);
  const bar = (dy: number, high: number, style: BoxStyle) =>
    boxMark(x, y + dy * side, 0.86 * side, high * side, style);
  switch (verb) {
    case "click":
      return tile(0) + ringMark(line, x, y, 0.43 * side, width) + cursor;
    case "open": {
      const frame = bar(0, 0.86, { fill: "none", stroke: line, line: width });
      return tile(-0.05) + frame + bar(-0.36, 0.16, { fill: line }) + cursor;
    }
    case "type": {
      const letter = (dx: number) => discMark(INK, INK, x + dx * side, y + 0.34 * side, 0.045 * side);
      const caret = boxMark(x + 0.14 * side, y + 0.34 * side, 0.04 * side, 0.15 * side, { fill: line });
      const field = bar(0.34, 0.24, { fill: "#fff", stroke: line, line: 0.7 * width });
      return tile(0.12) + field + [-0.26, -0.12, 0.02].map(letter).join("") + caret;
    }
    case "drag":
      return tile(0.14) + arrowMark(line, x, y + 0.32 * side, 0.62 * side) + cursor;
  }
}

const doneMarks = (size: Size, theme: Theme): string =>
  frameMarks(size, theme) +
  checkMark(size.width / 2, 0.54 * size.height, 0.6 * Math.min(size.width, size.height));

function stepCandidates(goal: string, steps: readonly Step[]): Candidate[] {
  const heldOut = (index: number) =>
    index > 0 && heldOutSteps((steps[index - 1] as Step).icon, (steps[index] as Step).icon);
  const any = steps.some((_, i) => heldOut(i));
  const short = (ask: readonly string[], answer: string, held: boolean): Candidate => ({
    kind: "steps",
    ask,
    answer,
    heldOut: held,
  });
  return [
    { kind: "steps", ask: ASK_STEPS.how(goal), answer: tellSteps(goal, steps), heldOut: any, main: true },
    { kind: "summary", ask: ASK_FILM.summary, answer: listSteps(steps), heldOut: any },
    short(ASK_STEPS.many, so([listSteps(steps)], countWord(steps.length)), false),
    ...steps.map((step, i) => short(ASK_STEPS.step(i), tellStep(step), false)),
    ...steps.slice(1).map((step, i) => ({
      ...short(ASK_STEPS.after(steps[i] as Step), so([stepAfter(steps, i)], tellStep(step)), heldOut(i + 1)),
      seen: listSteps(steps),
    })),
  ];
}
