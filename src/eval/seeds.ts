import { LIMITS } from "../core/limits.ts";
import { FIRST_TRAINING_SEED } from "../world/seeds.ts";

/** Samples looked at for one topic of one evaluation, topics, and as many evaluations as leave training's seeds alone. */
const SAMPLES = 2 ** 16;
export const MOST_TOPICS = 2 ** 4;
const EVALUATIONS = FIRST_TRAINING_SEED / (SAMPLES * MOST_TOPICS);

/** Limits of what may be asked for: at least every 32nd sample has the question that is wanted. */
export const MOST = { seed: EVALUATIONS - 1, count: SAMPLES / 32 } as const;

/** Seeds of the samples among which questions about a topic are found. */
export function* evaluationSeeds(evaluation: number, topic: number): Generator<number, void, undefined> {
  const first = (evaluation * MOST_TOPICS + topic) * SAMPLES;
  for (let i = 0; i < SAMPLES; i++) yield first + i;
}

/** What a needle test may be asked for at most. */
export const NIAH_MOST = {
  /** Needles of a cell: their films' seeds follow one another, and below 2^30 there is room for as many. */
  count: 1000,
  seed: 2 ** 20 - 1,
  /** Cells of the grid: a hundred lengths by a hundred depths, more than a figure can show. */
  cells: 10_000,
  /** Pictures that resemble the needle: as many as a needle's file may name. Of drawn cards there are fewer. */
  distractors: LIMITS.picturesPerNeedle,
} as const;
