/** Matrices of floats to integers with scales. What the kernels read is described at `Matrix` in nn/params.ts. */

/** Weights of one scale in the 4-bit format: smaller is more exact, and 32 costs 5 bits a weight with f32 scales. */
export const INT4_BLOCK = 32;

export interface Int4Matrix {
  /** u8 [rows, columns / 2]: two weights a byte, the first in the low nibble; 8 is zero. */
  packed: Uint8Array;
  /** f32 [rows, columns / 32] */
  scales: Float32Array;
  /** Norm of what rounding lost over the norm of the matrix. */
  error: number;
}

/** @param values f32 [rows, columns], columns a multiple of 32 */
export function quantiseInt4(values: Float32Array): Int4Matrix {
  const blocks = values.length / INT4_BLOCK;
  const packed = new Uint8Array(values.length / 2);
  const scales = new Float32Array(blocks);
  let [lost, all] = [0, 0];
  for (let b = 0; b < blocks; b++) {
    const start = b * INT4_BLOCK;
    const scale = blockScale(values, start);
    const inverse = scale === 0 ? 0 : 1 / scale;
    // The scale that is best for the rounded integers: least squares.
    let [xq, qq, xx] = [0, 0, 0];
    for (let i = 0; i < INT4_BLOCK; i += 2) {
      const [x, y] = [values[start + i] as number, values[start + i + 1] as number];
      const [p, q] = [nibble(x * inverse), nibble(y * inverse)];
      packed[(start + i) >> 1] = (p + 8) | ((q + 8) << 4);
      xq += x * p + y * q;
      qq += p * p + q * q;
      xx += x * x + y * y;
    }
    const best = qq === 0 ? 0 : Math.fround(xq / qq);
    scales[b] = best;
    lost += xx - 2 * best * xq + best * best * qq;
    all += xx;
  }
  return { packed, scales, error: all === 0 ? 0 : Math.sqrt(Math.max(0, lost) / all) };
}

/** The weight farthest from zero becomes -8, the end of the range that reaches farther. */
function blockScale(values: Float32Array, start: number): number {
  let extreme = 0;
  for (let i = start; i < start + INT4_BLOCK; i++) {
    const x = values[i] as number;
    if (Math.abs(x) > Math.abs(extreme)) extreme = x;
  }
  return extreme / -8;
}

const nibble = (x: number): number => Math.min(7, Math.max(-8, Math.round(x)));

export interface Int8Matrix {
  /** i8 [columns, rows]: transposed, as the kernel reads it. */
  values: Int8Array;
  /** f32 [rows] */
  scales: Float32Array;
  /** Norm of what rounding lost over the norm of the matrix. */
  error: number;
}

/** @param values f32 [rows, columns] */
export function quantiseInt8(values: Float32Array, rows: number): Int8Matrix {
  const columns = values.length / rows;
  const out = new Int8Array(values.length);
  const scales = new Float32Array(rows);
  let [lost, all] = [0, 0];
  for (let r = 0; r < rows; r++) {
    let largest = 0;
    for (let c = r * columns; c < (r + 1) * columns; c++) largest = Math.max(largest, Math.abs(values[c] as number));
    const scale = Math.fround(largest / 127);
    scales[r] = scale;
    const inverse = scale === 0 ? 0 : 1 / scale;
    for (let c = 0; c < columns; c++) {
      const x = values[r * columns + c] as number;
      const q = Math.max(-127, Math.min(127, Math.round(x * inverse)));
      out[c * rows + r] = q;
      lost += (x - q * scale) ** 2;
      all += x * x;
    }
  }
  return { values: out, scales, error: all === 0 ? 0 : Math.sqrt(lost / all) };
}
