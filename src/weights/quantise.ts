/**
 * Matrices of floats to integers with scales, a slice of rows at a time. What the kernels read is described at
 * `Matrix` in nn/params.ts. Every function says how much rounding lost; the sums of slices add up to a matrix's.
 */

/**
 * Weights of one scale in the 4-bit format. A weight costs 4 bits and its share of an f32 scale: 5 bits in blocks of
 * 32, 4.5 of 64, 4.25 of 128. Fewer bytes are read sooner, and larger blocks are less exact.
 */
export const INT4_BLOCKS = [32, 64, 128] as const;
export type Int4Block = (typeof INT4_BLOCKS)[number];
/** The most exact one, where none was asked for. */
export const INT4_BLOCK: Int4Block = 32;

/**
 * Changes with every change of the bytes that {@link packInt4} and {@link roundInt8} make of a matrix, or floats.ts of a
 * tensor: a conversion goes on over what another version has begun only if that rounded alike.
 */
export const ROUNDING_VERSION = 1;

/** Sums of squares: of what rounding lost, and of the weights themselves. Not finite when a weight is not. */
export interface Rounding {
  lost: number;
  all: number;
}

/** Norm of what rounding lost over the norm of the matrix. */
export function relativeError({ lost, all }: Rounding): number {
  return all === 0 ? 0 : Math.sqrt(Math.max(0, lost) / all);
}

/**
 * Where a block's weight farthest from zero may come to lie, in steps below zero. What lies beyond -8 is cut off to -8
 * for the sake of finer steps for all the others: of many weights one is an outlier, of 32 seldom so far that it pays.
 * All are below 9.5: see {@link nibble}.
 */
const REACHES: Readonly<Record<Int4Block, readonly [number, ...number[]]>> = {
  32: [8],
  64: [8, 8.7, 9.4],
  128: [8, 8.7, 9.4],
};

/**
 * Packs blocks of weights. The weight farthest from zero goes to the end of the range that reaches farther, to -8; in
 * larger blocks a little beyond it is tried too, and what loses least is taken. Once all are rounded, the scale is the
 * one that fits those integers best (least squares).
 * @param values f32, whole blocks
 * @param packed takes half a byte a weight
 * @param scales takes one a block
 */
export function packInt4(
  values: Float32Array,
  packed: Uint8Array,
  scales: Float32Array,
  block: Int4Block,
): Rounding {
  const sum = { lost: 0, all: 0 };
  for (let start = 0; start < values.length; start += block) {
    const inverse = bestInverse(values, start, start + block, REACHES[block]);
    scales[start / block] = packBlock(values, start, start + block, inverse, packed, sum);
  }
  return sum;
}

/** One over the step that loses least of weights `start` to `end`, of those that the reaches allow. */
function bestInverse(
  values: Float32Array,
  start: number,
  end: number,
  reaches: readonly [number, ...number[]],
): number {
  let low = 0;
  let high = 0;
  for (let i = start; i < end; i++) {
    const x = values[i]!;
    if (x < low) low = x;
    if (x > high) high = x;
  }
  const extreme = high > -low ? high : low;
  if (extreme === 0) return 0;
  let best = -reaches[0] / extreme;
  if (reaches.length === 1) return best;
  let most = keptSquares(values, start, end, best);
  for (let i = 1; i < reaches.length; i++) {
    const inverse = -reaches[i]! / extreme;
    const kept = keptSquares(values, start, end, inverse);
    if (kept > most) [best, most] = [inverse, kept];
  }
  return best;
}

/** How much of the sum of squares of some weights their integers keep, when the scale is the one that fits best. */
function keptSquares(values: Float32Array, start: number, end: number, inverse: number): number {
  let xq = 0;
  let qq = 0;
  for (let i = start; i < end; i++) {
    const x = values[i]!;
    const q = nibble(x * inverse) - 8;
    xq += x * q;
    qq += q * q;
  }
  return (xq * xq) / qq;
}

/** Rounds one block, adds to the sums, and returns its scale. */
function packBlock(
  values: Float32Array,
  start: number,
  end: number,
  inverse: number,
  packed: Uint8Array,
  sum: Rounding,
): number {
  let xq = 0;
  let qq = 0;
  let xx = 0;
  for (let i = start; i < end; i += 2) {
    const x = values[i]!;
    const y = values[i + 1]!;
    const p = nibble(x * inverse);
    const q = nibble(y * inverse);
    packed[i >> 1] = p | (q << 4);
    xq += x * (p - 8) + y * (q - 8);
    qq += (p - 8) * (p - 8) + (q - 8) * (q - 8);
    xx += x * x + y * y;
  }
  const scale = qq === 0 ? 0 : Math.fround(xq / qq);
  sum.lost += xx - 2 * scale * xq + scale * scale * qq;
  sum.all += xx;
  return scale;
}

/** The whole number nearest to one of steps, 8 above it, as far as four bits reach. @param steps above -9.5 */
function nibble(steps: number): number {
  // Cutting off what follows the point rounds to nearest, and what lies below -8.5 up to 0. The far end can be too much.
  return Math.min(15, (steps + 8.5) | 0);
}

/** Rows that are transposed together: each column of them is a cache line of the result. */
const TILE_ROWS = 64;

/**
 * Rounds some rows of a matrix, each by its own largest weight, into their places in the transposed whole.
 * @param values f32 [some, columns]
 * @param first the first row's number in the whole
 * @param transposed takes i8 [columns, rows]
 * @param scales f32 [rows], takes those of the rows given
 */
export function roundInt8(
  values: Float32Array,
  first: number,
  transposed: Int8Array,
  scales: Float32Array,
): Rounding {
  const rows = scales.length;
  const columns = transposed.length / rows;
  const count = values.length / columns;
  const tile = new Int8Array(TILE_ROWS * columns);
  const sum = { lost: 0, all: 0 };
  for (let start = 0; start < count; start += TILE_ROWS) {
    const height = Math.min(TILE_ROWS, count - start);
    for (let r = 0; r < height; r++) {
      const row = values.subarray((start + r) * columns, (start + r + 1) * columns);
      scales[first + start + r] = roundRow(row, tile.subarray(r * columns, (r + 1) * columns), sum);
    }
    for (let c = 0; c < columns; c++) {
      const to = c * rows + first + start;
      for (let r = 0; r < height; r++) transposed[to + r] = tile[r * columns + c]!;
    }
  }
  return sum;
}

/** Rounds one row, adds to the sums, and returns its scale. */
function roundRow(row: Float32Array, out: Int8Array, sum: Rounding): number {
  let [low, high] = [0, 0];
  for (let c = 0; c < row.length; c++) {
    const x = row[c]!;
    if (x < low) low = x;
    if (x > high) high = x;
  }
  const scale = Math.fround(Math.max(high, -low) / 127);
  const inverse = scale === 0 ? 0 : 1 / scale;
  let [lost, all] = [0, 0];
  for (let c = 0; c < row.length; c++) {
    const x = row[c]!;
    // The addition keeps the sum positive, so that cutting off what follows the point rounds to nearest.
    let q = ((x * inverse + 128.5) | 0) - 128;
    if (q > 127) q = 127;
    if (q < -127) q = -127;
    out[c] = q;
    const difference = x - q * scale;
    lost += difference * difference;
    all += x * x;
  }
  sum.lost += lost;
  sum.all += all;
  return scale;
}
