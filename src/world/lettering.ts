import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import opentype from "opentype.js";

/** Letters as outlines, so that pictures do not depend on the fonts of a machine. */

/** How bold: pictures are lettered boldly, figures mostly not. */
export type Weight = 400 | 800;

/** Outlines of a text whose capitals are 100 high, from its lower left corner. */
export interface Lettering {
  path: string;
  /** Where the capitals are 100. */
  width: number;
}

const CAPITALS = 100;

/** Inter's outlines, each text drawn once. */
class Font {
  readonly #font: opentype.Font;
  readonly #size: number;
  readonly #drawn = new Map<string, Lettering>();

  constructor(weight: Weight) {
    const file = createRequire(import.meta.url).resolve(
      `@fontsource/inter/files/inter-latin-${weight}-normal.woff`,
    );
    const bytes = readFileSync(file);
    this.#font = opentype.parse(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    this.#size = (CAPITALS * this.#font.unitsPerEm) / this.#font.charToGlyph("H").getMetrics().yMax;
  }

  draw(text: string): Lettering {
    const known = this.#drawn.get(text);
    if (known) return known;
    const path = this.#font.getPath(text, 0, 0, this.#size);
    const { x1, x2 } = path.getBoundingBox();
    const drawn = { path: path.toPathData(1), width: x2 + x1 };
    this.#drawn.set(text, drawn);
    return drawn;
  }
}

const fonts = new Map<Weight, Font>();

/** The outlines of a text. */
export function lettering(text: string, weight: Weight = 800): Lettering {
  const font = fonts.get(weight) ?? new Font(weight);
  fonts.set(weight, font);
  return font.draw(text);
}

/** Height of the capitals with which a text is `width` wide. */
export const capitalsFor = (text: string, width: number): number =>
  (CAPITALS * width) / lettering(text).width;
