import type { Size } from "../core/size.ts";
import type { ViewLimits } from "../model/views.ts";
import { DEFAULT_COMPRESSION, type Modality, viewsOf } from "../model/visual.ts";
import type { Dice } from "./dice.ts";

/** The views that the world is drawn for: what it shows can be told at these sizes, or it is not asked about. */
export const EYE: ViewLimits = {
  image: { most: 160 ** 2, overview: 64 ** 2, stride: 32 },
  video: { least: 64 ** 2, most: 128 ** 2, stride: 32 },
  video_long: { least: 64 ** 2, most: 128 ** 2, stride: 64 },
};

/** Pixels that an object, and the capitals of a text, have at least when they are encoded. */
export const LEAST_OBJECT = 33;
export const LEAST_CAPITALS = 15;

/** A picture's size as it is drawn at scale 1, and how much of it remains when it is encoded. */
export interface Sight {
  size: Size;
  encoded: Size;
  /** The smaller of both factors from `size` to `encoded`. */
  shrink: number;
}

export function sightOf(size: Size, modality: Modality): Sight {
  const encoded = viewsOf(size, modality, DEFAULT_COMPRESSION[modality], EYE).main;
  const shrink = Math.min(encoded.width / size.width, encoded.height / size.height);
  return { size, encoded, shrink };
}

export interface SizeRange {
  /** Square root of the area, in pixels. */
  from: number;
  to: number;
  /** Longer side by shorter, at most. */
  aspect: number;
  /** Sides, in pixels. */
  least: number;
  most: number;
}

/** By how much a picture's sides may be shortened differently when it is encoded. */
const MOST_DISTORTION = 1.25;

/** A picture that keeps its proportions, more or less, when it is encoded. */
export const drawSight = (dice: Dice, range: SizeRange, modality: Modality): Sight =>
  dice.until(() => {
    const sight = sightOf(drawSize(dice, range), modality);
    const { size, encoded } = sight;
    const distortion = (encoded.width * size.height) / (encoded.height * size.width);
    return distortion < MOST_DISTORTION && distortion > 1 / MOST_DISTORTION ? sight : undefined;
  }, "a size");

/** A size whose area and aspect ratio lie evenly (by their logarithms) in a range; a third are squares. */
function drawSize(dice: Dice, { from, to, aspect, least, most }: SizeRange): Size {
  const side = dice.scaled(from, to);
  const stretch = dice.chance(1 / 3) ? 1 : Math.sqrt(dice.scaled(1 / aspect, aspect));
  const within = (length: number) => Math.round(Math.min(most, Math.max(least, length)));
  return { width: within(side * stretch), height: within(side / stretch) };
}
