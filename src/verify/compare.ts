/** How far what was computed is from what a reference expects. */

/** Norm of the difference over the norm of what is expected; NaN when either is not finite. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const e = expected[i] as number;
    difference += ((actual[i] as number) - e) ** 2;
    norm += e * e;
  }
  return difference === 0 ? 0 : Math.sqrt(difference) / Math.sqrt(norm);
}

/** Differences of pixels, in 8-bit levels. */
export interface LevelDifference {
  /** Pixels that differ. */
  differing: number;
  /** The largest difference. */
  most: number;
}

/** A value this far from a whole level was never an 8-bit pixel. */
const LEVEL_SLACK = 0.01;

/** @param levels 0 … 255. @param expected the same, as (level / 255 - 0.5) / 0.5 in f32 */
export function levelDifference(levels: Float32Array, expected: Float32Array): LevelDifference {
  let [differing, most] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const exact = ((expected[i] as number) * 0.5 + 0.5) * 255;
    const level = Math.abs(exact - Math.round(exact)) <= LEVEL_SLACK ? Math.round(exact) : exact;
    const difference = Math.abs((levels[i] as number) - level);
    if (difference === 0) continue;
    differing++;
    // A NaN in the reference is a difference without a size.
    most = Math.max(most, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  return { differing, most };
}

/** The first place where two lists of tokens differ; undefined when they are the same. */
export function firstDifference(actual: readonly number[], expected: readonly number[]): number | undefined {
  const length = Math.max(actual.length, expected.length);
  for (let i = 0; i < length; i++) if (actual[i] !== expected[i]) return i;
  return undefined;
}
