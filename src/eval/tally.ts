/** Scores of questions that are counted together. */
export interface Tally {
  questions: number;
  /** Sum of their scores, each from 0 to 1. */
  points: number;
}

/** A share with the interval in which the true one lies, 19 times out of 20. */
export interface Rate {
  questions: number;
  rate: number;
  low: number;
  high: number;
}

export const EMPTY: Tally = { questions: 0, points: 0 };

/** The 97.5% quantile of the normal distribution. */
const Z = 1.959964;

export function counted({ questions, points }: Tally, score: number): Tally {
  return { questions: questions + 1, points: points + score };
}

export function joined(tallies: readonly Tally[]): Tally {
  return tallies.reduce(
    (a, b) => ({ questions: a.questions + b.questions, points: a.points + b.points }),
    EMPTY,
  );
}

/**
 * Wilson's interval, which also holds near 0 and 1. Scores between 0 and 1 vary less than right and wrong answers
 * with the same mean, so that for them it is wider than need be. Undefined of no questions.
 */
export function rateOf({ questions: n, points }: Tally): Rate | undefined {
  if (n === 0) return undefined;
  const rate = points / n;
  const scale = 1 + Z ** 2 / n;
  const centre = (rate + Z ** 2 / (2 * n)) / scale;
  const half = (Z / scale) * Math.sqrt((rate * (1 - rate)) / n + (Z / (2 * n)) ** 2);
  return { questions: n, rate, low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}
