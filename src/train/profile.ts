import { OryxError } from "../core/errors.ts";
import type { LanguageConfig } from "../model/config.ts";
import type { Part } from "./arena.ts";
import type { Parameters } from "./parameters.ts";

/** What the time of a step goes to. */
export const PHASES = [
  "prepare",
  "vision forward",
  "language",
  "vision backward",
  "accumulate",
  "update",
] as const;
export type Phase = (typeof PHASES)[number];

/** Where time went, and how much was computed meanwhile. */
export class Profile {
  readonly ms: Record<Phase, number>;
  /** Floating-point operations of matrix products, estimated; those that a backward pass computes again count too. */
  flops = 0;

  constructor() {
    this.ms = Object.fromEntries(PHASES.map((phase) => [phase, 0])) as Record<Phase, number>;
  }

  /** Counts the time of some work to a phase, without that of other phases within it. */
  async timed<T>(phase: Phase, work: () => Promise<T> | T): Promise<T> {
    const start = performance.now();
    const counted = this.totalMs;
    try {
      return await work();
    } finally {
      const within = this.totalMs - counted;
      this.ms[phase] += Math.max(0, performance.now() - start - within);
    }
  }

  get totalMs(): number {
    return PHASES.reduce((sum, phase) => sum + this.ms[phase], 0);
  }

  /** Billions of operations a second. */
  get gflops(): number {
    return this.flops / 1e6 / this.totalMs;
  }
}

/** Parameters that are looked up in or added, or counted apart: the output layer computes only what is predicted. */
const TABLES = /pos_embed|embed_tokens|lm_head/;

/** Multiplications and additions of each link, to estimate what a step computes. */
export class Costs {
  readonly #perToken: Record<Part, number>;
  readonly #trained: Record<Part, number>;
  readonly #head: number;
  readonly #config: LanguageConfig;
  readonly #vision: { width: number; blocks: number };

  constructor(parameters: Parameters) {
    const { config, visionShape } = parameters.model;
    const perToken = { tower: 0, connector: 0, language: 0 };
    const trained = { ...perToken };
    for (const { layout } of [parameters.trained, parameters.frozen]) {
      for (const { name, part, size, decays } of layout.slots.values()) {
        if (!decays || TABLES.test(name)) continue;
        perToken[part] += 2 * size;
        if (layout === parameters.trained.layout) trained[part] += 2 * size;
      }
    }
    this.#trained = trained;
    this.#perToken = perToken;
    this.#config = config.language;
    this.#head = 2 * config.language.vocabSize * config.language.hiddenSize;
    this.#vision = visionShape;
  }

  /** Forward passes that a backward graph is worth: one forward, one for inputs, one for what is trained of the weights. */
  backward(part: Part): number {
    return 2 + this.#trained[part] / this.#perToken[part];
  }

  /** One forward pass over n pictures of so many patches. */
  tower(n: number, patches: number): number {
    const { width, blocks } = this.#vision;
    return n * patches * (this.#perToken.tower + 4 * blocks * width * patches);
  }

  /** One forward pass; most of it is spent on what is left after compression. */
  connector(regions: number): number {
    return regions * this.#perToken.connector;
  }

  /** One forward pass over places in sequences of one length, of which some are predicted. */
  language(places: number, length: number, chosen: number): number {
    const { layers, heads, headDim } = this.#config;
    return places * (this.#perToken.language + 4 * layers * heads * headDim * length) + chosen * this.#head;
  }
}

/** @throws OryxError `training_failed` */
export function checkLoss(loss: number): void {
  if (Number.isFinite(loss)) return;
  const remedy = "lower the learning rate, or go back to a snapshot";
  throw new OryxError("training_failed", `the loss is ${loss}`, remedy);
}
