import { Random } from "../core/random.ts";
import { uniformIndices } from "../media/sampling.ts";

/** Where what is hidden stands among the frames of a film. */

/** What a frame shows: a frame of the haystack by its number, or one of the pictures that are hidden. */
export type Shown = { hay: number } | { picture: number };

/** The frame that a depth means: the first for 0, the last for 1. */
export function slotAt(frames: number, depth: number): number {
  // 0.29 * 100 is 28.999999999999996, and 29 is meant.
  return Math.min(frames - 1, Math.floor(depth * frames + 1e-9));
}

export interface LayoutRequest {
  /** Frames of the whole film, hidden pictures included. */
  frames: number;
  /** Where the first picture is, from 0 to 1. */
  depth: number;
  /** Pictures to hide, at least one; all but the first go wherever chance puts them. */
  pictures: number;
  seed: number;
}

/** Frames that a film must have for each hidden picture, so that chance finds room. */
export const FRAMES_PER_PICTURE = 4;

/** Every frame of a film: pictures are put between the haystack's frames, which keep their order. */
export function layout({ frames, depth, pictures, seed }: LayoutRequest): Shown[] {
  const slots = [slotAt(frames, depth)];
  const random = new Random(seed);
  while (slots.length < pictures) {
    const slot = Math.floor(random.next() * frames);
    if (slots.every((taken) => Math.abs(taken - slot) > 1)) slots.push(slot);
  }
  let hay = 0;
  return Array.from({ length: frames }, (_, slot) => {
    const picture = slots.indexOf(slot);
    return picture < 0 ? { hay: hay++ } : { picture };
  });
}

/** What is seen of a film of which only some frames are taken, as the engine takes them. */
export function sampled(film: readonly Shown[], most: number): Shown[] {
  return uniformIndices(film.length, most).map((slot) => film[slot] as Shown);
}

/** Leading frames that are those of the haystack alone: whatever hides behind them, they are the same. */
export function sharedFrames(film: readonly Shown[]): number {
  const end = film.findIndex((shown, slot) => !("hay" in shown) || shown.hay !== slot);
  return end < 0 ? film.length : end;
}
