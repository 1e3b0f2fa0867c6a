/**
 * Seeds below this are for evaluation: recipes draw theirs from above (src/recipe/world-data.ts). So no picture that
 * is asked about was ever learnt from, however long a model was trained.
 */
export const FIRST_TRAINING_SEED = 2 ** 32;

/** Samples looked at for one topic of one evaluation, topics, and evaluations: their product is the bound above. */
const SAMPLES = 2 ** 16;
export const MOST_TOPICS = 2 ** 4;
const EVALUATIONS = 2 ** 12;

/** Limits of what may be asked for: at least every 32nd sample has the question that is wanted. */
export const MOST = { seed: EVALUATIONS - 1, count: SAMPLES / 32 } as const;

/** Seeds of the samples among which questions about a topic are found. */
export function* evaluationSeeds(evaluation: number, topic: number): Generator<number, void, undefined> {
  const first = (evaluation * MOST_TOPICS + topic) * SAMPLES;
  for (let i = 0; i < SAMPLES; i++) yield first + i;
}
