import { OryxError } from "../core/errors.ts";
import { Random } from "../core/random.ts";

/** How the next token is chosen. */
export interface SamplingOptions {
  /** 0: always the most likely token (the default). */
  temperature?: number;
  /** Only the k most likely tokens; 0: all. */
  topK?: number;
  /** Only the most likely tokens whose probabilities add up to this. */
  topP?: number;
  /** Divides (or multiplies, below 0) the logits of tokens already generated. 1: off. */
  repetitionPenalty?: number;
  /** Seed of the random choice; the same seed gives the same answer. */
  seed?: number;
}

const RANGES = {
  temperature: [0, 100, "0 or more"],
  topK: [0, 1e9, "0 or more"],
  topP: [Number.MIN_VALUE, 1, "above 0 and at most 1"],
  repetitionPenalty: [Number.MIN_VALUE, 100, "above 0"],
  seed: [0, Number.MAX_SAFE_INTEGER, "a whole number from 0"],
} as const;

/** Chooses tokens from logits, in the order in which the field applies it: penalty, temperature, top-k, top-p. */
export class Sampler {
  readonly #options: Required<SamplingOptions>;
  readonly #random: Random;
  readonly #seen = new Set<number>();

  /** @throws OryxError `bad_option` naming the option and its range. */
  constructor(options: SamplingOptions = {}) {
    this.#options = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0, ...options };
    for (const [name, [least, most, words]] of Object.entries(RANGES)) {
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
    if (!Number.isFinite(logits[best])) {
      const remedy = "the weights are damaged, or beyond what f32 can hold";
      throw new OryxError("runtime_failed", "the model computed no numbers", remedy);
    }
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
    // Tokens this far below the best have no weight that a double could add.
    const floor = highest - 40 * temperature;
    const ids: number[] = [];
    for (let id = 0; id < logits.length; id++) if ((logits[id] as number) >= floor) ids.push(id);
    ids.sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
    if (topK > 0) ids.length = Math.min(ids.length, topK);
    const weights = ids.map((id) => Math.exp(((logits[id] as number) - highest) / temperature));
    const total = weights.reduce((a, b) => a + b, 0);
    let kept = 0;
    let mass = 0;
    while (kept < ids.length && mass < topP * total) mass += weights[kept++] as number;
    let left = this.#random.next() * mass;
    for (let i = 0; i < kept; i++) {
      left -= weights[i] as number;
      if (left < 0) return ids[i] as number;
    }
    return ids[kept - 1] as number;
  }
}

/** Index of the largest value; the first one of equals. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}
