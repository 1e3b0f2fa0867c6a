import type { Size } from "../core/size.ts";
import type { VideoPace } from "../media/media.ts";
import type { Views } from "../model/visual.ts";
import { PATCH } from "../model/vit.ts";

/** How fast a model is on a machine: seconds for each unit of work. */
export interface Speed {
  /** For each patch of a picture, and for each pair of patches in it, as attention compares them. */
  encode: { perPatch: number; perPair: number };
  /** For each token of a prompt, and for each pair of a token with one before it. */
  prefill: { perToken: number; perPair: number };
  /** For each pixel of a decoded picture that becomes RGB and is resized. */
  perPixel: number;
}

/** Seconds until the first token, by stage, as if one stage came after the other. */
export interface Seconds {
  decode: number;
  encode: number;
  prefill: number;
}

/**
 * Codecs decode a pixel of film in about this share of the time in which it becomes RGB and is resized: 1.1 of 19 ns
 * for H.264 at 720p, on two cores.
 */
const CODEC_SHARE = 0.06;
/** What image files take, beside: inflating, or the cosine transform. */
const IMAGE_SHARE = 1;
/** Of films that do not tell: a camera's rate, and encoders' usual group of pictures. */
const USUAL_PACE: VideoPace = { framesPerSecond: 30, keyIntervalS: 10 };

const pixels = ({ width, height }: Size): number => width * height;

/** Decoding a film's frames: whole groups from their key frames on, and no more than the film has. */
export function filmSeconds(
  { perPixel }: Speed,
  film: { size: Size; durationS: number; pace?: VideoPace | undefined },
  pictures: number,
): number {
  const { framesPerSecond, keyIntervalS } = film.pace ?? USUAL_PACE;
  const before = (framesPerSecond * Math.min(keyIntervalS, film.durationS)) / 2;
  const decoded = Math.min(Math.max(pictures, framesPerSecond * film.durationS), pictures * (before + 1));
  return perPixel * pixels(film.size) * (CODEC_SHARE * decoded + pictures);
}

export function imageSeconds({ perPixel }: Speed, size: Size, images: number): number {
  return perPixel * pixels(size) * (1 + IMAGE_SHARE) * images;
}

export function encodeSeconds({ encode }: Speed, { main, low }: Views, pictures: number): number {
  const one = (size: Size) => {
    const patches = pixels(size) / PATCH ** 2;
    return patches * encode.perPatch + patches ** 2 * encode.perPair;
  };
  return pictures * one(main) + (low ? one(low) : 0);
}

/** @param cached tokens before the prompt's, which its own look back on */
export function prefillSeconds({ prefill }: Speed, tokens: number, cached: number): number {
  return tokens * prefill.perToken + tokens * (cached + tokens / 2) * prefill.perPair;
}

/** Seconds that each patch or token took in a run, in which it met so many others. */
export interface Run {
  met: number;
  seconds: number;
}

/** The part of a run's time that grows with what is met, and the part that does not. What noise makes negative is nothing. */
export function fitLine(few: Run, many: Run): { each: number; pair: number } {
  const pair = Math.max(0, (many.seconds - few.seconds) / (many.met - few.met));
  const each = Math.max(few.seconds - pair * few.met, few.seconds / 10);
  return { each, pair };
}
