import {
  INT4_BLOCK,
  type Int4Block,
  packInt4,
  relativeError,
  roundInt8,
} from "../../src/weights/quantise.ts";

/** Whole matrices quantised at once, where a conversion goes by slices. */

export interface Int4Matrix {
  /** u8 [rows, columns / 2]: two weights a byte, the first in the low nibble; 8 is zero. */
  packed: Uint8Array;
  /** f32 [rows, columns / block] */
  scales: Float32Array;
  /** See {@link relativeError}. */
  error: number;
}

/** @param values f32 [rows, columns], columns a multiple of the block */
export function quantiseInt4(values: Float32Array, block: Int4Block = INT4_BLOCK): Int4Matrix {
  const packed = new Uint8Array(values.length / 2);
  const scales = new Float32Array(values.length / block);
  return { packed, scales, error: relativeError(packInt4(values, packed, scales, block)) };
}

export interface Int8Matrix {
  /** i8 [columns, rows]: transposed, as the kernel reads it. */
  values: Int8Array;
  /** f32 [rows] */
  scales: Float32Array;
  /** See {@link relativeError}. */
  error: number;
}

/** @param values f32 [rows, columns] */
export function quantiseInt8(values: Float32Array, rows: number): Int8Matrix {
  const out = new Int8Array(values.length);
  const scales = new Float32Array(rows);
  return { values: out, scales, error: relativeError(roundInt8(values, 0, out, scales)) };
}
