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
