import { OryxError } from "../core/errors.ts";
import type { Dataset, Example } from "./example.ts";
import { hereLoader, type Loader, type Skipped, threadLoader } from "./loader.ts";
import { order } from "./order.ts";

/**
 * Batches of examples in a seeded order, loaded ahead by threads.
 *
 * ```ts
 * const batches = await openBatches({ spec, open, workerUrl, workers: 2, batchSize: 64, seed: 1 });
 * try {
 *   for await (const { number, examples, skipped } of batches.from(resumedAt, steps)) …
 * } finally {
 *   await batches.close();
 * }
 * ```
 *
 * Batch b of a run is made of places b * batchSize and following in the orders of epoch 0, epoch 1, … laid end to
 * end: a pure function of (data set, seed, batchSize, b), whatever the number of threads and wherever a run begins.
 * A sample that is broken or too long leaves its place empty, so a batch may be smaller, and even empty; it is named
 * in `skipped`. Pixels are handed over, not copied: an example belongs to whoever gets it.
 *
 * A data set is described by plain data, `spec`, and opened by `open`, in this thread or in others. A thread's
 * program is a module of two lines that calls `serveExamples(open)` (serve.ts) with the same `open`.
 */

export type { Skipped } from "./loader.ts";

export interface BatchesOptions<Spec> {
  /** Which data set: plain data, as it is sent to threads. Shared memory in it stays shared. */
  spec: Spec;
  /** Opens the data set that a spec describes. */
  open: (spec: Spec) => Promise<Dataset>;
  /** The threads' program. Without it examples are made in this thread: Node 20 threads cannot load TypeScript. */
  workerUrl?: URL | undefined;
  /** Threads; 0: examples are made in this one. */
  workers: number;
  /** Examples of one batch, skipped ones included. */
  batchSize: number;
  /** Seeds the order. */
  seed: number;
  /** Examples that are loaded ahead while a batch is in use; each holds its pixels in memory. Default: `batchSize`. */
  ahead?: number | undefined;
  /** How long {@link Batches.close} waits for threads to finish the example that they are at. Default: a minute. */
  closeWithinMs?: number | undefined;
}

export interface Batch {
  number: number;
  /** In their order, without the skipped ones. */
  examples: Example[];
  skipped: Skipped[];
}

/**
 * Opens a data set for training.
 * @throws OryxError `bad_option`; `data_invalid` (nothing in it); `worker_failed`; what `open` throws
 */
export async function openBatches<Spec>(options: BatchesOptions<Spec>): Promise<Batches> {
  const { spec, open, workerUrl, workers, batchSize, seed } = options;
  const { ahead = batchSize, closeWithinMs = 60_000 } = options;
  requireWhole("workers", workers, 0, 256);
  requireWhole("batchSize", batchSize, 1, 2 ** 20);
  requireWhole("ahead", ahead, 0, 2 ** 20);
  requireWhole("seed", seed, 0, Number.MAX_SAFE_INTEGER);
  const inThreads = workerUrl !== undefined && workers > 0;
  const loader = inThreads
    ? await threadLoader(workerUrl, spec, workers, closeWithinMs)
    : hereLoader(await open(spec));
  if (loader.length > 0) return new Batches(loader, batchSize, seed, ahead);
  await loader.close();
  throw new OryxError("data_invalid", "the data set has no examples", "is it the right one?");
}

function requireWhole(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new OryxError("bad_option", `${name} is ${value}`, `give a whole number from ${least} to ${most}`);
}

export class Batches {
  /** Examples of one epoch, broken ones included. */
  readonly length: number;
  readonly #loader: Loader;
  readonly #batchSize: number;
  readonly #seed: number;
  readonly #ahead: number;

  constructor(loader: Loader, batchSize: number, seed: number, ahead: number) {
    this.length = loader.length;
    this.#loader = loader;
    this.#batchSize = batchSize;
    this.#seed = seed;
    this.#ahead = ahead;
  }

  /**
   * Batches `start` to `end` - 1. Leaving the loop early is fine; the data set stays open until {@link close}.
   * @throws OryxError `worker_failed`; `closed` when the data set is closed meanwhile; any error of the data set that
   *   is not one sample's
   */
  async *from(start: number, end = Number.POSITIVE_INFINITY): AsyncGenerator<Batch, void, undefined> {
    requireWhole("start", start, 0, Number.MAX_SAFE_INTEGER / this.#batchSize);
    const outcomes: ReturnType<Loader["load"]>[] = [];
    const last = end * this.#batchSize;
    let place = start * this.#batchSize;
    for (let number = start; number < end; number++) {
      const wanted = Math.min(last, (number + 1) * this.#batchSize + this.#ahead);
      while (place < wanted) outcomes.push(this.#load(place++));
      const batch = await Promise.all(outcomes.splice(0, this.#batchSize));
      yield {
        number,
        examples: batch.flatMap((outcome) => ("example" in outcome ? [outcome.example] : [])),
        skipped: batch.flatMap((outcome) => ("skipped" in outcome ? [outcome.skipped] : [])),
      };
    }
  }

  #load(place: number): ReturnType<Loader["load"]> {
    const epoch = Math.floor(place / this.length);
    const outcome = this.#loader.load(order(this.#seed, epoch, this.length)(place % this.length));
    outcome.catch(() => {}); // told when its batch is awaited, which may never be
    return outcome;
  }

  /**
   * Ends threads and frees files; examples on their way fail with `closed` at once. A second call does nothing. A
   * process that ends by itself needs no call; before `process.exit`, which would cut native decoders off, it does.
   */
  close(): Promise<void> {
    return this.#loader.close();
  }
}
