import { OryxError } from "../core/errors.ts";

/** Which moments of a film to look at. */
export interface FrameSampling {
  /** Length of the film in seconds. */
  durationS: number;
  /** Candidate frames per second. */
  fps: number;
  /** Most frames to take. */
  maxFrames: number;
}

/**
 * Times of the frames that Oryx looks at, in seconds, ascending and inside the film.
 *
 * Candidates lie at 0, 1/fps, 2/fps, … before the end (a film always has the first). When there are more than
 * `maxFrames`, that many are taken evenly: `floor(linspace(0, n - 1, maxFrames))`, in NumPy's own arithmetic,
 * so that the first and last candidates are among them.
 *
 * The cost follows `maxFrames`, not the duration, which a hostile header may state as a million years.
 *
 * @throws OryxError `bad_option`: a duration, rate or count that makes no sense
 */
export function sampleTimes({ durationS, fps, maxFrames }: FrameSampling): number[] {
  requireOption(Number.isFinite(durationS) && durationS >= 0, "durationS", durationS, "0 or more");
  requireOption(Number.isFinite(fps) && fps > 0, "fps", fps, "more than 0");
  requireOption(
    Number.isSafeInteger(maxFrames) && maxFrames >= 1,
    "maxFrames",
    maxFrames,
    "a whole number from 1",
  );

  return uniformIndices(candidateFrames(durationS, fps), maxFrames).map((candidate) => candidate / fps);
}

/** At most `most` of the numbers 0 … count - 1, spread evenly: all of them, or floor(linspace(0, count - 1, most)). */
export function uniformIndices(count: number, most: number): number[] {
  const taken = Math.min(count, most);
  // A slope first and products after it, the last one exact: what NumPy does, to the last bit.
  const step = (count - 1) / (taken - 1);
  return Array.from({ length: taken }, (_, i) => {
    if (i === 0) return 0;
    return i === taken - 1 ? count - 1 : Math.floor(i * step);
  });
}

/** How many of 0, 1/fps, 2/fps, … come before the end; at least 1. */
export function candidateFrames(durationS: number, fps: number): number {
  const count = Math.max(1, Math.ceil(durationS * fps));
  // The product may round up past a whole number; the candidate there would not be inside the film.
  return count > 1 && (count - 1) / fps >= durationS ? count - 1 : count;
}

function requireOption(fine: boolean, name: string, value: number, want: string): void {
  if (!fine) throw new OryxError("bad_option", `${name} is ${value}`, `give ${want}`);
}
