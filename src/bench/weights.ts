import { mkdtempSync, rmSync } from "node:fs";
import { type FileHandle, open, statfs } from "node:fs/promises";
import { tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { DTYPE_BYTES, type DType } from "../core/dtype.ts";
import { OryxError } from "../core/errors.ts";
import { gigabytes } from "../core/figures.ts";
import { Random } from "../core/random.ts";
import { elementCount, type StoredTensor } from "../core/tensor.ts";
import { PARTS } from "../nn/params.ts";
import type { ExpectedTensors } from "../weights/expected.ts";
import { toBfloat16 } from "../weights/floats.ts";
import {
  blockOf,
  EMBEDDING,
  HEAD,
  type IntegerForm,
  integerForms,
  languageStorages,
  neighbours,
  visionStorages,
} from "../weights/forms.ts";
import type { Int4Block } from "../weights/quantise.ts";
import { partShapes } from "../weights/quantised.ts";
import type { OnStep } from "./measure.ts";

/** How weights are stored: as published, or as `oryx convert --weights` would store them. */
export type WeightType = "f32" | "bf16" | "q4" | "w8" | "auto";
export const WEIGHT_TYPES: readonly WeightType[] = ["f32", "bf16", "q4", "w8", "auto"];

/** Random elements that are made of a kind; the rest repeats them. Prime, so that no two rows of a matrix are alike. */
const TILE = 1_000_003;
/** Spread of a new model's weights. */
const DEVIATION = 0.02;
/** How much further into the random elements each tensor begins than the one before, so that no two are alike. */
const SHIFT = 4112;
/** Where a tensor may begin: as a kernel likes it, and a mapped file can give it. */
const ALIGNMENT = 64;

const NORM_WEIGHT = /norm\d?\.weight$/;

/** What a tensor's elements are like. */
type Noise = "ones" | "weights" | "bits" | "int4 scales" | "int8 scales";

/** A tensor that will be made. */
interface Wanted {
  name: string;
  dtype: DType;
  shape: readonly number[];
  noise: Noise;
}

/** Bytes of these tensors, stored in this way. @param block of int4, where there is any */
export function bytesStoredAs(expected: ExpectedTensors, weights: WeightType, block?: Int4Block): number {
  return wantedOf(expected, weights, block).reduce((sum, tensor) => sum + bytesOf(tensor), 0);
}

/**
 * Random weights in a temporary file, which a runtime maps as it maps a checkpoint's: what a benchmark tells of
 * memory is then true. The same on every run; every tensor has its own place, so that none comes from a cache
 * because another was just read.
 */
export class RandomWeights {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #folder: string;

  private constructor(folder: string, tensors: ReadonlyMap<string, StoredTensor>) {
    this.#folder = folder;
    this.tensors = tensors;
  }

  /**
   * @param block of int4, see `oryx convert --block` @param onStep may throw to end it
   * @throws OryxError `bad_option` when the machine's memory cannot hold them, or for a block where nothing is int4;
   *   `disk` when its disk cannot
   */
  static async create(
    expected: ExpectedTensors,
    weights: WeightType,
    block?: Int4Block,
    onStep: OnStep = () => {},
  ): Promise<RandomWeights> {
    const wanted = wantedOf(expected, weights, block);
    // Floating point is computed with as f32; integers stay what they are.
    checkMemory(
      wanted.reduce(
        (sum, t) => sum + elementCount(t.shape) * (t.dtype === "bf16" ? 4 : DTYPE_BYTES[t.dtype]),
        0,
      ),
    );
    const folder = mkdtempSync(join(tmpdir(), "oryx-bench-"));
    try {
      return new RandomWeights(folder, await writeAll(join(folder, "random.weights"), wanted, onStep));
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * Removes the file. What has mapped it keeps it, where the system can do that (not on Windows): then it is
   * removed by the next call.
   */
  remove(): void {
    try {
      rmSync(this.#folder, { recursive: true, force: true });
    } catch {
      // in use
    }
  }
}

function wantedOf(expected: ExpectedTensors, weights: WeightType, block: Int4Block | undefined): Wanted[] {
  const size = blockOf(weights, block);
  const tensors = [...expected].flatMap(([name, shape]) => storedAs(name, shape, weights, size));
  const table = expected.get(EMBEDDING);
  // Rows of an int8 table cannot be looked up, so a tied head is stored once more.
  const isTied = table !== undefined && !expected.has(HEAD);
  const all = isTied && weights === "w8" ? [...tensors, ...parts(HEAD, table, { storage: "int8" })] : tensors;
  return neighbours(all);
}

function storedAs(name: string, shape: readonly number[], weights: WeightType, block: Int4Block): Wanted[] {
  const forms = formsOf(name, shape, weights, block);
  if (forms.length > 0) return forms.flatMap((form) => parts(name, shape, form));
  const dtype = weights === "f32" ? "f32" : "bf16";
  return [{ name, dtype, shape, noise: NORM_WEIGHT.test(name) ? "ones" : "weights" }];
}

/** The integers that `oryx convert` makes of a matrix; none: it stays in floating point. */
function formsOf(
  name: string,
  shape: readonly number[],
  weights: WeightType,
  block: Int4Block,
): readonly IntegerForm[] {
  if (weights === "f32" || weights === "bf16") return [];
  const storages = [...languageStorages(name, weights), ...visionStorages(name)];
  return integerForms(name, shape[1] as number, storages, block);
}

function parts(name: string, shape: readonly number[], form: IntegerForm): Wanted[] {
  const { storage } = form;
  const [rows, columns] = shape as [number, number];
  const { values, scales } = partShapes(form, rows, columns);
  return [
    {
      name: name + PARTS[storage].values,
      dtype: storage === "int4" ? "u8" : "i8",
      shape: values,
      noise: "bits",
    },
    { name: name + PARTS[storage].scales, dtype: "f32", shape: scales, noise: `${storage} scales` },
  ];
}

const bytesOf = ({ dtype, shape }: Wanted): number => elementCount(shape) * DTYPE_BYTES[dtype];
const aligned = (offset: number): number => Math.ceil(offset / ALIGNMENT) * ALIGNMENT;

async function writeAll(
  path: string,
  wanted: readonly Wanted[],
  onStep: OnStep,
): Promise<Map<string, StoredTensor>> {
  const total = wanted.reduce((sum, tensor) => sum + aligned(bytesOf(tensor)), 0);
  await checkDisk(total);
  const tiles = new Map<string, Uint8Array>();
  const tensors = new Map<string, StoredTensor>();
  const file = await open(path, "wx");
  try {
    let offset = 0;
    for (const { name, dtype, shape, noise } of wanted) {
      onStep(`making weights, ${Math.round((100 * offset) / total)}%`);
      const kind = `${dtype} ${noise}`;
      const tile = tiles.get(kind) ?? makeTile(dtype, noise);
      tiles.set(kind, tile);
      const byteLength = elementCount(shape) * DTYPE_BYTES[dtype];
      const start = (tensors.size * SHIFT * DTYPE_BYTES[dtype]) % tile.length;
      await writeRepeated(file, tile, start, offset, byteLength);
      tensors.set(name, { dtype, shape, bytes: { path, offset, byteLength } });
      offset = aligned(offset + byteLength);
    }
  } catch (cause) {
    if (cause instanceof OryxError) throw cause;
    const problem = `${path} could not be written: ${(cause as Error).message}`;
    throw new OryxError("disk", problem, "set TMPDIR to a folder with more room", { cause });
  } finally {
    await file.close();
  }
  return tensors;
}

/** Writes a tile over and over, beginning at a place within it. */
async function writeRepeated(
  file: FileHandle,
  tile: Uint8Array,
  start: number,
  offset: number,
  length: number,
) {
  for (let done = 0, at = start; done < length; at = 0) {
    const count = Math.min(length - done, tile.length - at);
    await file.write(tile, at, count, offset + done);
    done += count;
  }
}

function makeTile(dtype: DType, noise: Noise): Uint8Array {
  const values = tileValues(noise);
  const elements = dtype === "bf16" ? toBfloat16(values as Float32Array) : values;
  return new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
}

function tileValues(noise: Noise): Float32Array | Uint8Array {
  const random = new Random(1);
  // Scales that give whole numbers of 4 or 8 random bits the spread of weights, give or take a half.
  const scales = (spread: number) =>
    Float32Array.from({ length: TILE }, () => (DEVIATION / spread) * (0.5 + random.next()));
  switch (noise) {
    case "ones":
      return new Float32Array(TILE).fill(1);
    case "weights":
      return Float32Array.from({ length: TILE }, () => DEVIATION * normal(random));
    case "bits":
      return Uint8Array.from({ length: TILE }, () => random.bits());
    case "int4 scales":
      return scales(2 ** 4 / Math.sqrt(12));
    case "int8 scales":
      return scales(2 ** 8 / Math.sqrt(12));
  }
}

/** A normally distributed number around 0 (Box and Muller). */
function normal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
  return radius * Math.cos(2 * Math.PI * random.next());
}

function checkMemory(bytes: number): void {
  if (bytes < 0.9 * totalmem()) return;
  const problem = `these weights take ${gigabytes(bytes)}, and the machine has ${gigabytes(totalmem())}`;
  throw new OryxError("bad_option", problem, "choose a smaller shape, or fewer bits: --weights q4");
}

async function checkDisk(bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(tmpdir());
  if (bytes < bavail * bsize) return;
  const problem = `the random weights take ${gigabytes(bytes)} of disk, and ${tmpdir()} has ${gigabytes(bavail * bsize)}`;
  throw new OryxError("disk", problem, "free some space, or set TMPDIR to a folder with more room");
}
