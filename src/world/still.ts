import type { Size } from "../core/size.ts";
import type { Dice } from "./dice.ts";
import { type Background, backgroundMark, drawBackground, shapeMark, textMark, visibleOn } from "./draw.ts";
import { drawSight, LEAST_CAPITALS, LEAST_OBJECT, type Sight } from "./eye.ts";
import {
  CAPITALS,
  COLOURS,
  type Colour,
  isLetters,
  NUMBERS,
  PLACES,
  type Place,
  SHAPES,
  type Shape,
  WORDS,
  ZONES,
  type Zone,
} from "./language.ts";
import { capitalsFor } from "./lettering.ts";
import type { Easy, Kind } from "./sample.ts";
import type { Scenery } from "./scenery.ts";
import { heldOutObject, heldOutText } from "./split.ts";

/** An image: objects and texts on a loose grid. */

export interface StillObject {
  colour: Colour;
  shape: Shape;
  zone: Zone;
  x: number;
  y: number;
  size: number;
}

export interface StillText {
  text: string;
  place: Place;
  fill: string;
  x: number;
  y: number;
  capitals: number;
}

export interface Still {
  size: Size;
  background: Background;
  /** In reading order, as are the texts. */
  objects: readonly StillObject[];
  texts: readonly StillText[];
}

interface StillPlan {
  /** Whether something held out is shown, and which: an object or a text. Undefined: nothing is. */
  heldOut: "object" | "text" | undefined;
  /** What must be there. */
  needs: "object" | "text" | undefined;
  /** How likely colours, or shapes, are few, so that there are several of a kind to count. */
  alike: number;
  /** Things at most. */
  things: number;
  /** Pixels of a side at most. */
  side: number;
  /** How likely there is a text where none is needed; undefined: as it comes. */
  often: number | undefined;
  /** How likely a text is letters. */
  letters: number;
}

const SIZES = { from: 88, to: 420, aspect: 2.5, least: 64, most: 512 } as const;

/** Things of an image at most: five objects, or three and two texts. */
const MOST_THINGS = 5;

/** Encoded pixels of a cell at least: an object with some air. */
const LEAST_CELL = 46;
/** An object's side by its cell's, and in encoded pixels at most. */
const FILL = { from: 0.72, to: 0.92, most: 100 } as const;
/** Encoded pixels of the capitals of a text at most. */
const MOST_CAPITALS = 40;
/** How far an object is from the middle of its cell, at most, by the picture's side: far from the next zone. */
const JITTER = 0.05;

/** An image on which something of a kind can be asked. */
export function drawImage(
  dice: Dice,
  kind: Kind,
  heldOut: boolean,
  easy?: Easy,
): { still: Still; scenery: Scenery } {
  const either = dice.pick(["object", "text"] as const);
  const both = kind === "describe" || kind === "choice" || kind === "letter" || kind === "position";
  const about = kind === "read" ? "text" : both && heldOut ? either : "object";
  const needs = kind === "describe" && !heldOut ? undefined : about;
  const still = drawStill(dice, {
    needs,
    heldOut: heldOut ? about : undefined,
    alike: kind === "count" ? 0.7 : 0.35,
    things: easy?.things ?? MOST_THINGS,
    side: easy?.side ?? SIZES.most,
    often: easy?.texts,
    letters: easy?.letters ?? 0,
  });
  const shown = [
    ...still.objects.map((thing) => ({ picture: 0, thing, x: thing.x, y: thing.y, size: thing.size })),
    ...still.texts.map((thing) => ({ picture: 0, thing, x: thing.x, y: thing.y, size: thing.capitals })),
  ];
  const { size, background } = still;
  return { still, scenery: { size, pictures: [stillMarks(still)], noise: background.noise, shown } };
}

/** Draws what is shown first, and then a picture in which it fits: or there would be few objects, mostly. */
function drawStill(dice: Dice, plan: StillPlan): Still {
  const { side } = plan;
  const background = drawBackground(dice);
  const contents = drawContents(dice, plan, background);
  const sizes = { ...SIZES, from: Math.min(SIZES.from, side), to: Math.min(SIZES.to, side), most: side };
  // A long word may fit no small picture: then another takes its place.
  const isSmall = side < SIZES.to;
  return dice.until(() => {
    const shown = isSmall ? drawContents(dice, plan, background) : contents;
    return layOut(dice, drawSight(dice, sizes, "image"), background, shown);
  }, "an image");
}

type Pair = Pick<StillObject, "colour" | "shape">;

interface Contents {
  objects: readonly Pair[];
  texts: readonly Pick<StillText, "text" | "place">[];
}

function drawContents(
  dice: Dice,
  { heldOut, needs, alike, things, often: wanted, letters }: StillPlan,
  background: Background,
): Contents {
  // Letters take longest to learn, so every second easy picture has a text.
  const often = wanted === undefined ? (things < MOST_THINGS ? 7 : 2) : (7 * wanted) / (1.001 - wanted);
  const texts = dice.weighted([
    [0, needs === "text" ? 0 : 7],
    [1, needs === "text" ? 8 : needs === "object" && things < 2 ? 0 : often],
    [2, things < 2 || often === 0 ? 0 : needs === "text" ? 2 : 0.5],
  ]);
  const least = needs === "object" || texts === 0 ? 1 : 0;
  const count = dice.whole(least, Math.max(least, Math.min(texts === 0 ? 5 : 3, things - texts)));
  const palette = COLOURS.filter((colour) => visibleOn(background, colour));
  const first = heldOut === "object" ? drawHeldOut(dice, palette) : undefined;
  return {
    objects: drawObjects(dice, palette, count, alike, first),
    texts: drawTexts(dice, texts, heldOut === "text", letters),
  };
}

/** Objects, held-out ones only where `first` is. */
function drawObjects(
  dice: Dice,
  palette: readonly Colour[],
  count: number,
  alike: number,
  first?: Pair,
): Pair[] {
  const colours = dice.chance(alike) ? dice.some(palette, dice.whole(1, 3)) : palette;
  const shapes = dice.chance(alike) ? dice.some(SHAPES, dice.whole(1, 3)) : SHAPES;
  const pairs = (ofColours: readonly Colour[], ofShapes: readonly Shape[]): Pair[] =>
    ofColours
      .flatMap((colour) => ofShapes.map((shape) => ({ colour, shape })))
      .filter(({ colour, shape }) => !heldOutObject(colour, shape))
      // What is held out is asked about, so nothing else has its colour or shape.
      .filter(({ colour, shape }) => colour !== first?.colour && shape !== first?.shape);
  const few = pairs(colours, shapes);
  const choices = few.length > 0 ? few : pairs(palette, SHAPES);
  const objects = first ? [first] : [];
  while (objects.length < count) objects.push(dice.pick(choices));
  return dice.shuffled(objects);
}

export function drawHeldOut(dice: Dice, colours: readonly Colour[] = COLOURS): Pair {
  const colour = dice.pick(colours);
  return { colour, shape: dice.pick(SHAPES.filter((shape) => heldOutObject(colour, shape))) };
}

/** A word, a number, or one of each, so that "the word" and "the number" mean one thing. From the top. */
function drawTexts(dice: Dice, count: number, heldOut: boolean, letters: number): Contents["texts"] {
  return dice.until(() => {
    const both = dice.shuffled([dice.pick(WORDS), dice.pick(NUMBERS)]);
    const spell = letters > 0 && dice.chance(letters);
    const one = [spell ? drawLetters(dice, 4) : dice.pick(dice.chance(0.75) ? WORDS : NUMBERS)];
    const texts = [[], one, both][count] ?? [];
    const places = dice.some(PLACES, count);
    const written = PLACES.filter((place) => places.includes(place)).map((place, i) => ({
      text: texts[i] as string,
      place,
    }));
    return written.some(({ text, place }) => heldOutText(text, place)) === heldOut ? written : undefined;
  }, "texts");
}

/** Letters that are no word; one alone is as likely as several. They teach to read words, and are learnt sooner. */
export const drawLetters = (dice: Dice, most: number): string =>
  dice.some(CAPITALS, dice.chance(0.4) ? 1 : dice.whole(2, most)).join("");

interface Grid {
  columns: number;
  rows: number;
}

function layOut(
  dice: Dice,
  sight: Sight,
  background: Background,
  { objects, texts }: Contents,
): Still | undefined {
  const fits = (side: number) => Math.max(1, Math.min(3, Math.floor(side / LEAST_CELL)));
  const grid = {
    columns: dice.whole(1, fits(sight.encoded.width)),
    rows: dice.whole(1, fits(sight.encoded.height)),
  };
  const rows = [...Array(grid.rows).keys()];
  const isWritten = (row: number) => texts.some(({ place }) => place === PLACES[third(row, grid.rows)]);
  const free = rows.filter((row) => !isWritten(row));
  if (grid.rows - free.length < texts.length) return undefined;
  const cells = free.flatMap((row) => [...Array(grid.columns).keys()].map((column) => ({ row, column })));
  if (cells.length < objects.length) return undefined;
  const chosen = dice.some(cells, objects.length).sort((p, q) => p.row - q.row || p.column - q.column);
  const placed = chosen.map((cell, i) => placeObject(dice, sight, grid, cell, objects[i] as Pair));
  if (placed.some((object) => object.size * sight.shrink < LEAST_OBJECT)) return undefined;
  const written = texts.map((text) => {
    const row = rows.find((r) => PLACES[third(r, grid.rows)] === text.place) as number;
    return writeText(dice, sight, background, text, (row + 0.5) / grid.rows, 1 / grid.rows);
  });
  if (written.some((text) => text === undefined)) return undefined;
  return { size: sight.size, background, objects: placed, texts: written as StillText[] };
}

function placeObject(
  dice: Dice,
  { size: whole, shrink }: Sight,
  { columns, rows }: Grid,
  { row, column }: { row: number; column: number },
  object: Pair,
): StillObject {
  const cell = { width: whole.width / columns, height: whole.height / rows };
  const side = Math.min(cell.width, cell.height) * dice.between(FILL.from, FILL.to);
  const size = Math.min(side, FILL.most / shrink);
  const away = (length: number, side: number) => {
    const room = Math.max(0, Math.min((length - size) / 2 - 1, JITTER * side));
    return dice.between(-room, room);
  };
  return {
    ...object,
    zone: ZONES[third(row, rows)][third(column, columns)],
    x: (column + 0.5) * cell.width + away(cell.width, whole.width),
    y: (row + 0.5) * cell.height + away(cell.height, whole.height),
    size,
  };
}

/** Where a row or column of one, two or three lies among three. */
const third = (index: number, count: number): 0 | 1 | 2 => {
  if (count === 1) return 1;
  return (count === 2 ? 2 * index : index) as 0 | 1 | 2;
};

/** A text in the row whose middle and height are these shares of the picture's. */
function writeText(
  dice: Dice,
  { size, shrink }: Sight,
  background: Background,
  { text, place }: Contents["texts"][number],
  middle: number,
  share: number,
): StillText | undefined {
  const height = share * size.height;
  const most = Math.min(capitalsFor(text, 0.9 * size.width), 0.62 * height, MOST_CAPITALS / shrink);
  // Letters are of any size and anywhere in their row, so that they are learnt wherever a word may have them.
  const anyhow = isLetters(text);
  const least = Math.max(LEAST_CAPITALS / shrink, anyhow ? 0 : 0.75 * most);
  if (most < least) return undefined;
  const capitals = dice.between(least, most);
  const width = capitals / capitalsFor(text, 1);
  const free = (0.96 * size.width - width) / 2;
  const room = anyhow ? free : Math.min(free, 0.1 * size.width);
  return {
    text,
    place,
    fill: background.dark ? "#f5f5f5" : dice.pick(["#141414", "#1e2846", "#3c1414"]),
    x: size.width / 2 + dice.between(-room, room),
    y: middle * size.height + dice.between(-0.08, 0.08) * height,
    capitals,
  };
}

/** The image's marks. */
const stillMarks = ({ size, background, objects, texts }: Still): string =>
  [
    backgroundMark(background, size),
    ...objects.map(({ shape, colour, x, y, size: side }) => shapeMark(shape, colour, x, y, side, background)),
    ...texts.map(({ text, fill, x, y, capitals }) => textMark(text, fill, x, y, capitals)),
  ].join("");
