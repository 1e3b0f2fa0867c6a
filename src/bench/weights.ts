import { totalmem } from "node:os";
import { OryxError } from "../core/errors.ts";
import { Random } from "../core/random.ts";
import { elementCount, type StoredTensor } from "../core/tensor.ts";
import type { ExpectedTensors } from "../weights/expected.ts";
import { toBfloat16 } from "../weights/floats.ts";

export type WeightType = "f32" | "bf16";
export const WEIGHT_TYPES: readonly WeightType[] = ["f32", "bf16"];

/** Random numbers that are made; the rest repeats them. Prime, so that no two rows of a matrix are alike. */
const TILE = 1_000_003;
/** Spread of a new model's weights. */
const DEVIATION = 0.02;
/** How much further into the random block each tensor begins than the one before, so that no two are alike. */
const SHIFT = 4112;
const NORM_WEIGHT = /norm\d?\.weight$/;

/**
 * Random tensors of these shapes, the same on every run; norms scale by 1. All are views of one block that is as
 * large as the largest: the runtime copies what it is given in memory, so they lie apart where it computes.
 * @throws OryxError `bad_option` when the machine's memory cannot hold them as f32, the type of the arithmetic
 */
export function randomTensors(expected: ExpectedTensors, dtype: WeightType): Map<string, StoredTensor> {
  const counts = [...expected.values()].map(elementCount);
  const largest = Math.max(...counts);
  checkMemory(4 * (counts.reduce((a, b) => a + b, 0) + largest));
  const noise = block(dtype, largest + SHIFT * expected.size, normals(TILE));
  const ones = block(dtype, 65_536, Float32Array.of(1));
  const tensors = new Map<string, StoredTensor>();
  const elementBytes = dtype === "f32" ? 4 : 2;
  for (const [name, shape] of expected) {
    const byteLength = elementCount(shape) * elementBytes;
    const start = tensors.size * SHIFT * elementBytes;
    const bytes = NORM_WEIGHT.test(name)
      ? ones.subarray(0, byteLength)
      : noise.subarray(start, start + byteLength);
    tensors.set(name, { dtype, shape, bytes });
  }
  return tensors;
}

/** Normally distributed numbers around 0 (Box and Muller). */
function normals(count: number): Float32Array {
  const random = new Random(1);
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
    return DEVIATION * radius * Math.cos(2 * Math.PI * random.next());
  });
}

/** `count` elements that repeat a tile. */
function block(dtype: WeightType, count: number, tile: Float32Array): Uint8Array {
  const elements = dtype === "f32" ? tile : toBfloat16(tile);
  const tileBytes = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
  const bytes = new Uint8Array(count * elements.BYTES_PER_ELEMENT);
  bytes.set(tileBytes.subarray(0, bytes.length));
  for (let done = tileBytes.length; done < bytes.length; done *= 2) bytes.copyWithin(done, 0, done);
  return bytes;
}

function checkMemory(bytes: number): void {
  if (bytes < 0.9 * totalmem()) return;
  const gigabytes = (n: number) => (n / 1e9).toFixed(1);
  const problem = `this shape takes ${gigabytes(bytes)} GB, and the machine has ${gigabytes(totalmem())} GB`;
  throw new OryxError("bad_option", problem, "choose a smaller shape");
}
