import type { DType, DTypeArrays } from "./dtype.ts";

/** A tensor in memory: row-major, little endian, `data.length` = product of `shape`. */
export type TensorData = {
  [D in DType]: { dtype: D; shape: readonly number[]; data: DTypeArrays[D] };
}[DType];

/** A byte range of a file. */
export interface FileRange {
  path: string;
  offset: number;
  byteLength: number;
}

/** A tensor's bytes where they lie, not yet read: a range of a file, or memory. Row-major, little endian. */
export interface StoredTensor {
  dtype: DType;
  shape: readonly number[];
  bytes: FileRange | Uint8Array;
}

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1);
}

/** One number, f32 []. */
export const scalar = (value: number): TensorData => ({
  dtype: "f32",
  shape: [],
  data: Float32Array.of(value),
});
