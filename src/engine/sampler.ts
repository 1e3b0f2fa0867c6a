import { OryxError } from "../core/errors.ts";
import { Random } from "../core/random.ts";

/** How the next token is chosen. */
export interface SamplingOptions {
  /** 0: always the most likely token (the default). */
  temperature?: number | undefined;
  /** Only the k most likely tokens; 0: all. */
  topK?: number | undefined;
  /** Only the most likely tokens whose probabilities add up to this. */
  topP?: number | undefined;
  /** Divides (or multiplies, below 0) the logits of tokens already generated. 1: off. */
  repetitionPenalty?: number | undefined;
  /** Seed of the random choice; the same seed gives the same answer. */
  seed?: number | undefined;
}

/** The least and the most of each option. */
export const SAMPLING_RANGES = {
  temperature: [0, 100, "0 or more"],
  topK: [0, 1e9, "0 or more"],
  topP: [Number.MIN_VALUE, 1, "above 0 and at most 1"],
  repetitionPenalty: [0.01, 100, "from 0.01 to 100"],
  seed: [0, Number.MAX_SAFE_INTEGER, "a whole number from 0"],
} as const;

/** Chooses tokens from logits, in the order in which the field applies it: penalty, temperature, top-k, top-p. */
export class Sampler {
  readonly #options: { [K in keyof SamplingOptions]-?: number };
  readonly #random: Random;
  readonly #seen = new Set<number>();

  /** @throws OryxError `bad_option` naming the option and its range. */
  constructor(options: SamplingOptions = {}) {
    const { temperature = 0, topK = 0, topP = 1, repetitionPenalty = 1, seed = 0 } = options;
    this.#options = { temperature, topK, topP, repetitionPenalty, seed };
    for (const [name, [least, most, words]] of Object.entries(SAMPLING_RANGES)) {
      const value = this.#options[name as keyof SamplingOptions];
      const whole = name !== "topK" && name !== "seed" ? true : Number.isInteger(value);
      if (!(value >= least && value <= most && whole)) {
        throw new OryxError("bad_option", `${name} is ${value}`, `give a value that is ${words}`);
      }
    }
    this.#random = new Random(this.#options.seed);
  }

  /** The next token. Changes the logits in place. @throws OryxError `runtime_failed` when they are no numbers. */
  next(logits: Float32Array): number {
    this.#penalise(logits);
    const best = argmax(logits);
    if (!Number.isFinite(logits[best])) throw noNumbers();
    const id = this.#options.temperature === 0 ? best : this.#draw(logits, logits[best] as number);
    this.#seen.add(id);
    return id;
  }

  #penalise(logits: Float32Array): void {
    const penalty = this.#options.repetitionPenalty;
    if (penalty === 1) return;
    for (const id of this.#seen) {
      const x = logits[id] as number;
      logits[id] = x > 0 ? x / penalty : x * penalty;
    }
  }

  #draw(logits: Float32Array, highest: number): number {
    const { temperature, topK, topP } = this.#options;
    const weightOf = (id: number) => Math.exp(((logits[id] as number) - highest) / temperature);
    const ids = topK > 0 ? mostLikely(logits, topK) : mostLikelyMass(logits, topP, temperature);
    const weights = ids.map(weightOf);
    const kept =
      topK > 0 && topP < 1 ? reach(weights, topP * weights.reduce((a, b) => a + b, 0)) : ids.length;
    let left = this.#random.next() * weights.slice(0, kept).reduce((a, b) => a + b, 0);
    for (let i = 0; i < kept; i++) {
      left -= weights[i] as number;
      if (left < 0) return ids[i] as number;
    }
    return ids[kept - 1] as number;
  }
}

/** How many of the weights it takes to reach a mass; at least one. */
function reach(weights: readonly number[], mass: number): number {
  let [count, sum] = [0, 0];
  while (count < weights.length && (count === 0 || sum < mass)) sum += weights[count++] as number;
  return count;
}

/** Ids by falling logit; of equal ones, the first comes first. */
const byLikelihood = (logits: Float32Array) => (a: number, b: number) =>
  (logits[b] as number) - (logits[a] as number) || a - b;

/** The k most likely tokens, by falling likelihood. One pass; only what beats the k-th is looked at closer. */
function mostLikely(logits: Float32Array, k: number): number[] {
  const order = byLikelihood(logits);
  let best: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    if ((logits[id] as number) < least) continue;
    best.push(id);
    if (best.length >= 2 * k) {
      best = best.sort(order).slice(0, k);
      least = logits[best[k - 1] as number] as number;
    }
  }
  return best.sort(order).slice(0, k);
}

/**
 * The fewest tokens, by falling likelihood, that together have the share `topP` of the probability; all, in any order,
 * for 1. The vocabulary is large and its tail long: only tokens above a bound are sorted, which falls until they do.
 */
function mostLikelyMass(logits: Float32Array, topP: number, temperature: number): number[] {
  const highest = logits[argmax(logits)] as number;
  let total = 0;
  for (const x of logits) total += Math.exp((x - highest) / temperature);
  for (let depth = topP < 1 ? 4 : 64; ; depth *= 2) {
    const ids: number[] = [];
    let mass = 0;
    for (let id = 0; id < logits.length; id++) {
      const below = (highest - (logits[id] as number)) / temperature;
      if (below > depth) continue;
      ids.push(id);
      mass += Math.exp(-below);
    }
    if (topP === 1) return ids;
    if (mass < topP * total && depth < 64) continue;
    ids.sort(byLikelihood(logits));
    return ids.slice(
      0,
      reach(
        ids.map((id) => Math.exp(((logits[id] as number) - highest) / temperature)),
        topP * total,
      ),
    );
  }
}

/** Index of the largest value; the first one of equals. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** What logits are that cannot be compared. */
export const noNumbers = (): OryxError =>
  new OryxError(
    "runtime_failed",
    "the model computed no numbers",
    "the weights are damaged, or beyond what f32 can hold",
  );
