import { createHash } from "node:crypto";
import { OryxError, quote } from "../core/errors.ts";
import { elementCount } from "../core/tensor.ts";
import { toFloat16 } from "../weights/floats.ts";
import { type Int4Block, packInt4, type Rounding, relativeError, roundInt8 } from "../weights/quantise.ts";
import { blockOfShape } from "../weights/quantised.ts";
import type { OutputFile } from "./disk.ts";
import type { Place } from "./layout.ts";
import type { Job } from "./plan.ts";

/** Some rows of a source tensor, in order. Its memory is used again for the next ones. */
export interface Slice {
  /** As they lie in the source. */
  raw: Uint8Array;
  /** The same as f32; empty when no sink needs it. */
  values: Float32Array;
  /** Number of the first element in the tensor. */
  first: number;
}

/** One storage of a tensor in the making: takes all slices in order, writes, and tells the hashes. */
export interface Sink {
  take(slice: Slice): Promise<void>;
  finish(): Promise<Made>;
}

export interface Made {
  /** SHA-256 by name of the stored tensor. */
  hashes: Record<string, string>;
  /** Relative error of rounding, by name of the stored tensor that has the integers. */
  errors: Record<string, number>;
}

/** Gives the output file of a name. */
export type Files = (name: string) => Promise<OutputFile>;

/** The sinks of a job: one for each storage. */
export async function sinksOf(job: Job, files: Files): Promise<Sink[]> {
  const sinks: Sink[] = [];
  if (job.dense) sinks.push(denseSink(job, job.dense, await streamTo(job.dense, files)));
  if (job.int4) sinks.push(await int4Sink(job.name, job.int4, files));
  if (job.int8) sinks.push(await int8Sink(job.name, job.int8, files));
  return sinks;
}

/** Whether a sink of the job wants the weights as f32. */
export function needsFloats({ source, dense, int4, int8 }: Job): boolean {
  return int4 !== undefined || int8 !== undefined || dense?.dtype !== source.dtype;
}

/** Writes a tensor from its beginning to its end, and hashes it on the way. */
interface Stream {
  write(bytes: Uint8Array): Promise<void>;
  digest(): string;
}

async function streamTo(place: Place, files: Files): Promise<Stream> {
  const file = await files(place.file);
  const hash = createHash("sha256");
  let at = place.offset;
  return {
    async write(bytes) {
      hash.update(bytes);
      await file.write(bytes, at);
      at += bytes.length;
    },
    digest: () => hash.digest("hex"),
  };
}

function denseSink(job: Job, place: Place, stream: Stream): Sink {
  const convert =
    job.source.dtype === place.dtype ? undefined : place.dtype === "f16" ? asFloat16 : asFloat32;
  return {
    take: ({ raw, values }) => stream.write(convert ? convert(values, job.name) : raw),
    finish: async () => ({ hashes: { [place.name]: stream.digest() }, errors: {} }),
  };
}

const asFloat32 = (values: Float32Array): Uint8Array => bytesOf(values);

function asFloat16(values: Float32Array, name: string): Uint8Array {
  const words = toFloat16(values);
  const beyond = words.findIndex((word, i) => (word & 0x7fff) === 0x7c00 && Number.isFinite(values[i]));
  if (beyond < 0) return bytesOf(words);
  throw new OryxError(
    "weights_mismatch",
    `${quote(name)} holds ${values[beyond]}, which f16 cannot`,
    `add --keep ${quote(name)}, or convert to another type`,
  );
}

async function int4Sink(
  name: string,
  { values, scales }: NonNullable<Job["int4"]>,
  files: Files,
): Promise<Sink> {
  const [packedStream, scaleStream] = [await streamTo(values, files), await streamTo(scales, files)];
  const block = blockOfShape(values.shape) as Int4Block;
  // Scales are at most a quarter of the packed weights, so they can wait until all are there.
  const allScales = new Float32Array(elementCount(scales.shape));
  let packed = new Uint8Array(0);
  const sum: Rounding = { lost: 0, all: 0 };
  return {
    async take({ values, first }) {
      const bytes = values.length / 2;
      if (packed.length < bytes) packed = new Uint8Array(bytes);
      const [from, count] = [first / block, values.length / block];
      add(sum, packInt4(values, packed, allScales.subarray(from, from + count), block));
      await packedStream.write(packed.subarray(0, bytes));
    },
    async finish() {
      await scaleStream.write(bytesOf(allScales));
      const hashes = { [values.name]: packedStream.digest(), [scales.name]: scaleStream.digest() };
      return { hashes, errors: { [values.name]: checkedError(name, sum) } };
    },
  };
}

/** The transposed matrix is put together in memory: a slice is a strip down all of its rows. */
async function int8Sink(
  name: string,
  { values, scales }: NonNullable<Job["int8"]>,
  files: Files,
): Promise<Sink> {
  const [valueStream, scaleStream] = [await streamTo(values, files), await streamTo(scales, files)];
  const [columns] = values.shape as [number, number];
  const transposed = new Int8Array(elementCount(values.shape));
  const allScales = new Float32Array(elementCount(scales.shape));
  const sum: Rounding = { lost: 0, all: 0 };
  return {
    async take({ values, first }) {
      add(sum, roundInt8(values, first / columns, transposed, allScales));
    },
    async finish() {
      await valueStream.write(bytesOf(transposed));
      await scaleStream.write(bytesOf(allScales));
      const hashes = { [values.name]: valueStream.digest(), [scales.name]: scaleStream.digest() };
      return { hashes, errors: { [values.name]: checkedError(name, sum) } };
    },
  };
}

function add(sum: Rounding, { lost, all }: Rounding): void {
  sum.lost += lost;
  sum.all += all;
}

/** A weight that is no number has no integer, and would turn a whole row into nonsense. */
function checkedError(name: string, sum: Rounding): number {
  if (Number.isFinite(sum.all)) return relativeError(sum);
  throw new OryxError(
    "weights_malformed",
    `${quote(name)} holds infinity or what is not a number`,
    "download the model again; if it is meant so, keep this matrix as it is with --keep",
  );
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Int8Array | Uint16Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
