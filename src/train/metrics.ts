import { type FileHandle, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { onDisk, syncFolder } from "../files/disk.ts";

const number = z.number();

/** What is noted of each optimiser step: one line of `metrics.jsonl`. */
const METRIC = z.object({
  /** Of the whole run, from 1. */
  step: number,
  stage: z.string(),
  /** Mean of -log p over the labels of the step. */
  loss: number,
  /** Learning rate. */
  rate: number,
  /** Norm of the gradient before clipping. */
  gradNorm: number,
  /** Tokens of the step's sequences, visual ones included, and of those the learnt ones. */
  tokens: number,
  labels: number,
  /** Pace of the step: from the end of the one before. */
  seconds: number,
  /** Examples of the step's batch that were skipped. */
  skipped: number,
});
export type Metric = z.infer<typeof METRIC>;

/** A file of metrics that is being written. */
export class MetricsLog {
  readonly #handle: FileHandle;
  readonly #path: string;
  #bytes: number;

  private constructor(handle: FileHandle, path: string, bytes: number) {
    this.#handle = handle;
    this.#path = path;
    this.#bytes = bytes;
  }

  /** Goes on behind the first `bytes` of the file, or what there is of them; what lies behind is cut off. */
  static async open(path: string, bytes: number): Promise<MetricsLog> {
    return onDisk(`write ${path}`, async () => {
      const handle = await open(path, "a");
      try {
        const { size } = await handle.stat();
        const end = Math.min(size, bytes);
        await handle.truncate(end);
        await syncFolder(dirname(path));
        return new MetricsLog(handle, path, end);
      } catch (error) {
        await handle.close();
        throw error;
      }
    });
  }

  async append(metric: Metric): Promise<void> {
    const line = new TextEncoder().encode(`${JSON.stringify(metric)}\n`);
    await onDisk(`write ${this.#path}`, () => this.#handle.writeFile(line));
    this.#bytes += line.length;
  }

  /** Brings all lines to the disk. @returns the file's length in bytes */
  async sync(): Promise<number> {
    await onDisk(`write ${this.#path}`, () => this.#handle.sync());
    return this.#bytes;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** All metrics of a file, without lines that are no good: a kill may have left half of one. */
export async function readMetrics(path: string): Promise<Metric[]> {
  const text = await onDisk(`read ${path}`, () => readFile(path, "utf8"));
  return text.split("\n").flatMap((line) => {
    try {
      const metric = METRIC.safeParse(JSON.parse(line));
      return metric.success ? [metric.data] : [];
    } catch {
      return [];
    }
  });
}

/** An exponential mean that is right from the first value on. */
export class Smoothed {
  readonly #keep: number;
  #sum = 0;
  #weight = 0;

  /** @param over about how many values the mean is taken over */
  constructor(over: number) {
    this.#keep = 1 - 1 / over;
  }

  add(value: number): number {
    this.#sum = this.#keep * this.#sum + value;
    this.#weight = this.#keep * this.#weight + 1;
    return this.value;
  }

  /** Not a number as long as there is no value. */
  get value(): number {
    return this.#sum / this.#weight;
  }
}
