import { OryxError } from "../core/errors.ts";

/** How the learning rate runs over a training. */
export interface Schedule {
  kind: "cosine" | "constant";
  /** The highest rate. */
  peak: number;
  /** Steps of the whole training. */
  steps: number;
  /** Share of the steps over which the rate rises from nothing. */
  warmup: number;
}

/**
 * The learning rate of a step, counted from 0: rising in a line over the warm-up, then at its peak (constant), or
 * falling along half a cosine to nothing behind the last step. As in the Hugging Face trainer, whose first step of a
 * warm-up has rate 0.
 * @throws OryxError `bad_option`
 */
export function learningRate({ kind, peak, steps, warmup }: Schedule, step: number): number {
  if (!(peak >= 0) || !(warmup >= 0 && warmup <= 1) || !(steps >= 1)) {
    const problem = `a schedule to ${peak} over ${steps} steps, a share of ${warmup} of it warm-up`;
    throw new OryxError("bad_option", problem, "give a rate and steps above 0, and a share from 0 to 1");
  }
  const rising = Math.ceil(warmup * steps);
  if (step < rising) return (peak * step) / rising;
  if (kind === "constant") return peak;
  const done = Math.min(1, (step - rising) / Math.max(1, steps - rising));
  return (peak * (1 + Math.cos(Math.PI * done))) / 2;
}
