import type { Stage, Timings } from "./request.ts";

/** Adds up where the time of a request goes. */
export class Stopwatch {
  readonly #start = performance.now();
  readonly #spent: Record<Stage, number> = { decode: 0, encode: 0, prefill: 0, generate: 0 };
  #firstToken: number | undefined;

  /** Runs a piece of work on a stage's account. */
  readonly timed = async <T>(stage: Stage, work: () => Promise<T>): Promise<T> => {
    const from = performance.now();
    try {
      return await work();
    } finally {
      this.#spent[stage] += performance.now() - from;
    }
  };

  /** Notes that the first token is there. */
  firstToken(): void {
    this.#firstToken ??= performance.now();
  }

  timings(tokens: number): Timings {
    const now = performance.now();
    const first = this.#firstToken ?? now;
    return {
      decodeMs: this.#spent.decode,
      encodeMs: this.#spent.encode,
      prefillMs: this.#spent.prefill,
      firstTokenMs: first - this.#start,
      totalMs: now - this.#start,
      tokensPerSecond: tokens > 1 && now > first ? (1000 * (tokens - 1)) / (now - first) : 0,
    };
  }
}
