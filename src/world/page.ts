import type { Size } from "../core/size.ts";
import { DEFAULT_COMPRESSION, type Modality } from "../model/visual.ts";
import { PATCH } from "../model/vit.ts";
import type { Candidate } from "./conversation.ts";
import type { Dice } from "./dice.ts";
import { type Background, backgroundMark, drawBackground, shapeMark, textMark, visibleOn } from "./draw.ts";
import { drawSight, LEAST_CAPITALS, LEAST_OBJECT, type Sight, type SizeRange } from "./eye.ts";
import {
  ASK_PAGE,
  CAPITALS,
  COLOURS,
  ICONS,
  NUMBERS,
  PLACES,
  type Place,
  SHAPES,
  tellStep,
  VERBS,
  WORDS,
} from "./language.ts";
import { capitalsFor } from "./lettering.ts";
import type { Named, Scenery, Shown } from "./scenery.ts";
import { actedMark, drawTheme, groundMark, LEAST_TILE, type Theme, tileMark } from "./screen.ts";
import { heldOutObject, heldOutText } from "./split.ts";
import { markedMark } from "./table.ts";

/**
 * A page full of things of one sort, to be read row by row. Every patch has something to tell, so a tower that begins
 * from nothing learns from a page what it would learn from a dozen pictures of a single thing.
 */

const SIZES = { from: 72, to: 300, aspect: 2.2, least: 64, most: 400 } as const satisfies SizeRange;

/** What a cell shows, as the answer tells it, and its marks around a middle. */
interface Cell {
  told: string;
  words: Named["words"];
  /** Whether it is kept from training where its middle lies so far down, as a share of the page. */
  isHeldOut: (middle: number) => boolean;
  shown?: Shown["thing"];
  mark: (x: number, y: number) => string;
  /** Pixels that it takes. */
  width: number;
  height: number;
}

type Sort = {
  /** Encoded pixels of a cell at least; no less than a token stands for. */
  least: Size;
  /** Cells at most: each takes tokens. */
  most: number;
  /** What stands between two of them in the answer. */
  between: string;
  /** What stands in a cell of a size, in pixels; undefined: it does not fit. */
  draw: (page: Page, cell: Size) => Cell | undefined;
};

interface Page {
  dice: Dice;
  sight: Sight;
  background: Background;
  theme: Theme;
}

const written = (
  { dice, sight, background }: Page,
  text: string,
  cell: Size,
  most: number,
): Cell | undefined => {
  const least = LEAST_CAPITALS / sight.shrink;
  const fits = Math.min(capitalsFor(text, 0.92 * cell.width), 0.76 * cell.height, most / sight.shrink);
  if (fits < least) return undefined;
  const capitals = dice.between(least, fits);
  const fill = background.dark ? "#f5f5f5" : "#141414";
  return {
    told: text,
    words: /\d/.test(text) ? [text.charAt(0), text.charAt(1)] : [text, text],
    isHeldOut: () => false,
    mark: (x, y) => textMark(text, fill, x, y, capitals),
    width: capitals / capitalsFor(text, 1),
    height: capitals,
  };
};

const SORTS: Readonly<Record<"letters" | "words" | "objects" | "marked" | "icons", Sort>> = {
  letters: {
    least: { width: 20, height: 20 },
    most: 40,
    between: "-",
    draw: (page, cell) => written(page, page.dice.pick(CAPITALS), cell, 60),
  },
  words: {
    least: { width: 64, height: 21 },
    most: 18,
    between: ", ",
    draw(page, cell) {
      const text = page.dice.chance(0.75) ? page.dice.pick(WORDS) : page.dice.pick(NUMBERS);
      const drawn = written(page, text, cell, 40);
      const isHeldOut = (middle: number) => heldOutText(text, PLACES[Math.floor(3 * middle)] as Place);
      return drawn && { ...drawn, isHeldOut, shown: { text } };
    },
  },
  objects: {
    least: { width: 37, height: 37 },
    most: 16,
    between: ", ",
    draw: (page, cell) => object(page, cell),
  },
  marked: {
    least: { width: 56, height: 56 },
    most: 8,
    between: ", ",
    draw(page, cell) {
      const mark = page.dice.whole(1, 6);
      return object(page, cell, mark);
    },
  },
  icons: {
    least: { width: LEAST_TILE, height: LEAST_TILE },
    most: 9,
    between: ", ",
    draw({ dice, sight, theme }, cell) {
      const side = Math.min(cell.width, cell.height, 64 / sight.shrink);
      const step = { verb: dice.pick(VERBS), icon: dice.pick(ICONS) };
      const isActed = dice.chance(0.6);
      return {
        told: isActed ? tellStep(step) : step.icon,
        words: [step.icon, isActed ? step.verb : step.icon],
        isHeldOut: () => false,
        mark: (x, y) => (isActed ? actedMark(step, x, y, side) : tileMark(theme, step.icon, x, y, side)),
        width: side,
        height: side,
      };
    },
  },
};

function object({ dice, sight, background }: Page, cell: Size, mark?: number): Cell {
  const colour = dice.pick(COLOURS.filter((c) => visibleOn(background, c)));
  const shape = dice.pick(SHAPES);
  const least = LEAST_OBJECT / sight.shrink;
  const most = Math.min(cell.width, cell.height) * (mark === undefined ? 0.96 : 0.68);
  const size = dice.between(Math.min(least, most), Math.min(most, 100 / sight.shrink));
  const thing = { colour, shape };
  return {
    told: `${colour} ${shape}${mark === undefined ? "" : ` ${mark}`}`,
    words: [colour, shape],
    isHeldOut: () => heldOutObject(colour, shape),
    shown: thing,
    mark: (x, y) =>
      mark === undefined
        ? shapeMark(shape, colour, x, y, size, background)
        : markedMark({ ...thing, mark }, x, y, size, background, sight),
    width: mark === undefined ? size : 1.4 * size,
    height: mark === undefined ? size : 1.4 * size,
  };
}

/** How likely a page has gaps, and then each of its cells is one. */
const GAPS = { pages: 0.3, cells: 0.4 } as const;

const ATTEMPTS = 12;

function attempt<T>(draw: () => T | undefined): T | undefined {
  for (let i = 0; i < ATTEMPTS; i++) {
    const drawn = draw();
    if (drawn !== undefined) return drawn;
  }
  return undefined;
}

/** A page with the one question about it. */
export function drawPage(
  dice: Dice,
  heldOut: boolean,
  modality: Modality,
): { scenery: Scenery; candidates: Candidate[] } {
  return dice.until(() => {
    const sort = dice.weighted([
      ["letters", 2],
      ["words", 3],
      ["objects", 3],
      ["marked", 1],
      ["icons", 1.5],
    ] as const);
    const { least, most, between, draw } = SORTS[heldOut && sort !== "words" ? "objects" : sort];
    const sight = drawSight(dice, SIZES, modality);
    const page: Page = { dice, sight, background: drawBackground(dice), theme: drawTheme(dice) };
    // The larger of two draws: full pages teach more than single things.
    const many = (side: number, cell: number) => {
      const fit = Math.max(1, Math.floor(side / cell));
      return Math.max(dice.whole(1, fit), dice.whole(1, fit));
    };
    const token = PATCH * DEFAULT_COMPRESSION[modality];
    const columns = many(sight.encoded.width, Math.max(least.width, token));
    const rows = many(sight.encoded.height, Math.max(least.height, token));
    if (columns * rows > most) return undefined;
    const { width, height } = sight.size;
    const cell = { width: width / columns, height: height / rows };
    const gaps = dice.chance(GAPS.pages) ? GAPS.cells : 0;
    const told: string[] = [];
    const marks: string[] = [];
    const shown: Shown[] = [];
    const named: Named[] = [];
    let isHeldOut = false;
    for (let row = 0; row < rows; row++) {
      const line: string[] = [];
      for (let column = 0; column < columns; column++) {
        if (dice.chance(gaps)) continue;
        const placed = attempt(() => {
          const drawn = draw(page, cell);
          if (drawn === undefined) return undefined;
          const away = (length: number, taken: number) =>
            dice.between(-0.5, 0.5) * Math.max(0, length - taken - 1);
          const x = (column + 0.5) * cell.width + away(cell.width, drawn.width);
          const y = (row + 0.5) * cell.height + away(cell.height, drawn.height);
          const isOut = drawn.isHeldOut(y / height);
          return isOut && !heldOut ? undefined : { drawn, x, y, isOut };
        });
        if (placed === undefined) return undefined;
        const { drawn, x, y, isOut } = placed;
        isHeldOut ||= isOut;
        marks.push(drawn.mark(x, y));
        if (drawn.shown) shown.push({ picture: 0, thing: drawn.shown, x, y, size: drawn.height });
        line.push(drawn.told);
        const at = { picture: 0, x: x / width, y: y / height };
        named.push({ ...at, width: drawn.width / width, height: drawn.height / height, words: drawn.words });
      }
      if (line.length > 0) told.push(line.join(between));
    }
    if (told.length === 0 || isHeldOut !== heldOut) return undefined;
    const ground =
      sort === "icons" && !heldOut
        ? groundMark(page.theme, sight.size)
        : backgroundMark(page.background, sight.size);
    return {
      scenery: {
        size: sight.size,
        pictures: [ground + marks.join("")],
        noise: page.background.noise,
        shown,
        named,
      },
      candidates: [{ kind: "page", ask: ASK_PAGE, answer: told.join("; "), heldOut: isHeldOut }],
    };
  }, "a page");
}
