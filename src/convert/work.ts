import { join } from "node:path";
import { DTYPE_BYTES } from "../core/dtype.ts";
import { throwIfAborted } from "../core/errors.ts";
import { elementCount } from "../core/tensor.ts";
import { hashRange } from "../weights/converted.ts";
import { fromBfloat16, toFloat32 } from "../weights/floats.ts";
import { asTensor } from "../weights/stored.ts";
import type { Disk, OutputFile } from "./disk.ts";
import type { Place } from "./layout.ts";
import type { Job } from "./plan.ts";
import { type Made, needsFloats, type Sink, sinksOf } from "./sinks.ts";
import { SourceFiles } from "./source.ts";

/** A job that is done: what its tensors hash to. */
export interface JobResult extends Made {
  name: string;
}

/** A job, and what an earlier run noted of it. */
export interface Task {
  job: Job;
  noted?: JobResult;
}

/** A finished task. */
export interface TaskResult extends JobResult {
  /** It had been done before and is still as it was. */
  wasThere: boolean;
}

/** Elements that are converted at a time: 8 MB as f32. */
const SLICE_ELEMENTS = 2 ** 21;
/** Rows of a slice are a multiple of this where there are as many: whole cache lines of a transposed matrix. */
const SLICE_ROWS = 64;

/** Does tasks, one after another, on files that stay open between them. */
export class Workbench {
  readonly #dir: string;
  readonly #disk: Disk;
  readonly #signal: AbortSignal | undefined;
  readonly #source = new SourceFiles();
  readonly #files = new Map<string, OutputFile>();

  /** @param dir the folder in the making, whose files have their headers and sizes already */
  constructor(dir: string, disk: Disk, signal?: AbortSignal) {
    this.#dir = dir;
    this.#disk = disk;
    this.#signal = signal;
  }

  /**
   * Does some tasks. What it returns is on the disk.
   * @param onProgress is called with the bytes of the source that were gone through, and whether they had been done before
   */
  async run(
    tasks: readonly Task[],
    onProgress: (bytes: number, wasThere: boolean) => void,
  ): Promise<TaskResult[]> {
    const results: TaskResult[] = [];
    const touched = new Set<string>();
    for (const { job, noted } of tasks) {
      throwIfAborted(this.#signal);
      if (noted && (await this.#isIntact(job, noted))) {
        onProgress(job.source.bytes.byteLength, true);
        results.push({ ...noted, wasThere: true });
        continue;
      }
      results.push({ ...(await this.#convert(job, onProgress)), wasThere: false });
      for (const { file } of placesOf(job)) touched.add(file);
    }
    for (const name of touched) await (await this.#file(name)).sync();
    return results;
  }

  async close(): Promise<void> {
    await this.#source.close();
    for (const file of this.#files.values()) await file.close();
    this.#files.clear();
  }

  async #convert(job: Job, onProgress: (bytes: number, wasThere: boolean) => void): Promise<JobResult> {
    const { source } = job;
    const sinks = await sinksOf(job, (name) => this.#file(name));
    const elements = elementCount(source.shape);
    const step = sliceElements(source.shape, elements);
    const raw = new Uint8Array(step * DTYPE_BYTES[source.dtype]);
    const floats = new Float32Array(needsFloats(job) && source.dtype === "bf16" ? step : 0);
    for (let first = 0; first < elements; first += step) {
      throwIfAborted(this.#signal);
      const bytes = await this.#source.read(source, first, Math.min(step, elements - first), raw);
      const values = needsFloats(job) ? widen(bytes, source.dtype, floats) : floats;
      for (const sink of sinks) await sink.take({ raw: bytes, values, first });
      onProgress(bytes.length, false);
    }
    return { name: job.name, ...(await finished(sinks)) };
  }

  async #isIntact(job: Job, { hashes }: JobResult): Promise<boolean> {
    for (const { name, file, offset, bytes } of placesOf(job)) {
      const range = { path: join(this.#dir, file), offset, byteLength: bytes };
      if ((await hashRange(range, this.#signal)) !== hashes[name]) return false;
    }
    return true;
  }

  async #file(name: string): Promise<OutputFile> {
    const opened = this.#files.get(name) ?? (await this.#disk.open(join(this.#dir, name)));
    this.#files.set(name, opened);
    return opened;
  }
}

/** Everything that a job writes. */
export function placesOf({ dense, int4, int8 }: Job): Place[] {
  return [dense, int4?.values, int4?.scales, int8?.values, int8?.scales].filter(
    (place) => place !== undefined,
  );
}

/** Whole rows, so that no scale's weights are divided. */
function sliceElements(shape: readonly number[], elements: number): number {
  if (shape.length !== 2) return Math.min(elements, SLICE_ELEMENTS);
  const columns = shape[1] as number;
  const rows = Math.floor(SLICE_ELEMENTS / columns);
  const even = rows > SLICE_ROWS ? rows - (rows % SLICE_ROWS) : Math.max(1, rows);
  return Math.min(elements, even * columns);
}

/** Weights as f32; those of bf16, the usual type, without new memory. */
function widen(bytes: Uint8Array, dtype: Job["source"]["dtype"], floats: Float32Array): Float32Array {
  const tensor = asTensor(dtype, [], bytes);
  if (tensor.dtype !== "bf16") return toFloat32(bytes, dtype);
  return fromBfloat16(tensor.data, floats.subarray(0, tensor.data.length));
}

async function finished(sinks: readonly Sink[]): Promise<Made> {
  const all: Made = { hashes: {}, errors: {} };
  for (const sink of sinks) {
    const { hashes, errors } = await sink.finish();
    Object.assign(all.hashes, hashes);
    Object.assign(all.errors, errors);
  }
  return all;
}
