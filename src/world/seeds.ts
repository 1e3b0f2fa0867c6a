/**
 * Samples with seeds from here on are for training, those below for evaluation. So no picture that is asked about was
 * ever learnt from, however long a model was trained.
 */
export const FIRST_TRAINING_SEED = 2 ** 32;

/** Seeds of different data sets are so far apart; none has as many samples. */
const APART = 2 ** 32;
/** Data sets that have seeds of their own: the world takes seeds up to 2^50. */
const DATASETS = 2 ** 18 - 1;

/**
 * Seed of a training set's first sample; those behind it count up.
 * @param seed a whole number from 0: sets whose seeds differ by no multiple of 2^18 - 1 share no sample
 */
export const trainingSeed = (seed: number): number => FIRST_TRAINING_SEED + (seed % DATASETS) * APART;
