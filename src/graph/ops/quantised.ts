import { type Dim, sameDim, sameShape } from "../dim.ts";
import { apply, intAttribute, mismatch, tensorAt } from "../infer.ts";
import type { Op, Tensor } from "../tensor.ts";

/** Products with integer weights, and what they need around them. */

/** x [.., K] x 4-bit B [N, K / block, block / 2] with scales [N, K / block]. */
const MatMulNBits: Op = {
  name: "MatMulNBits",
  domain: "com.microsoft",
  infer(operands, attributes) {
    const [x, b, scales] = [0, 1, 2].map((i) => tensorAt("MatMulNBits", operands, i)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const [n, k, block] = ["N", "K", "block_size"].map((a) => intAttribute(attributes, a)) as [
      number,
      number,
      number,
    ];
    const fits =
      sameDim(x.dim(-1), k) &&
      sameShape(b.shape, [n, k / block, block / 2]) &&
      sameShape(scales.shape, [n, k / block]);
    if (!fits)
      throw mismatch("MatMulNBits", operands, `expected [.., ${k}] and ${n} rows of blocks of ${block}`);
    return [{ dtype: x.dtype, shape: x.shape.with(-1, n) }];
  },
};

/** Rows of a 4-bit table [rows, width / 2] at indices, as f32 [.., width]. */
const GatherBlockQuantized: Op = {
  name: "GatherBlockQuantized",
  domain: "com.microsoft",
  infer(operands) {
    const [table, indices, scales] = [0, 1, 2].map((i) => tensorAt("GatherBlockQuantized", operands, i)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    return [{ dtype: scales.dtype, shape: [...indices.shape, 2 * (table.dim(1) as number)] }];
  },
};

/** f32 to u8 or i8 with a scale and a zero point. */
const QuantizeLinear: Op = {
  name: "QuantizeLinear",
  domain: "",
  infer(operands) {
    const zero = tensorAt("QuantizeLinear", operands, 2);
    return [{ dtype: zero.dtype, shape: tensorAt("QuantizeLinear", operands, 0).shape }];
  },
};

/** u8 [.., m, k] x i8 [k, n] -> f32, with a scale for the rows and one for each column. */
const MatMulIntegerToFloat: Op = {
  name: "MatMulIntegerToFloat",
  domain: "com.microsoft",
  infer(operands) {
    const a = tensorAt("MatMulIntegerToFloat", operands, 0);
    const b = tensorAt("MatMulIntegerToFloat", operands, 1);
    if (!sameDim(a.dim(-1), b.dim(0)))
      throw mismatch("MatMulIntegerToFloat", operands, `${a.dim(-1)} != ${b.dim(0)}`);
    const shape: Dim[] = a.shape.with(-1, b.dim(1));
    return [{ dtype: tensorAt("MatMulIntegerToFloat", operands, 2).dtype, shape }];
  },
};

export const quantisedOps = {
  MatMulNBits,
  GatherBlockQuantized,
  QuantizeLinear,
  MatMulIntegerToFloat,
} as const;

/** x [.., k] times a 4-bit matrix: packed u8 [n, k / block, block / 2] (low nibble first, zero at 8), scales [n, k / block]. */
export function matmulInt4(x: Tensor, packed: Tensor, scales: Tensor): Tensor {
  const [n, blocks, bytes] = packed.shape as [number, number, number];
  return apply(MatMulNBits, [x, packed, scales], {
    N: { int: n },
    K: { int: blocks * bytes * 2 },
    bits: { int: 4 },
    block_size: { int: bytes * 2 },
    accuracy_level: { int: 4 },
  });
}

/** Rows of a 4-bit table, packed u8 [rows, width / 2], scales [rows, width / block], at indices. */
export const gatherInt4 = (packed: Tensor, scales: Tensor, indices: Tensor, block: number) =>
  apply(GatherBlockQuantized, [packed, indices, scales], {
    bits: { int: 4 },
    block_size: { int: block },
    gather_axis: { int: 0 },
    quantize_axis: { int: 1 },
  });

/** Each row of x [rows, k] to u8 or i8 with its own scale [rows] and zero point [rows], whose type decides. */
export const quantizeRows = (x: Tensor, scales: Tensor, zeros: Tensor) =>
  apply(QuantizeLinear, [x, scales, zeros], { axis: { int: 0 } });

/** (a - zero) [.., k] u8 times b [k, n] i8, times both scales. */
export const matmulInt8 = (a: Tensor, b: Tensor, aScale: Tensor, bScales: Tensor, aZero: Tensor) =>
  apply(MatMulIntegerToFloat, [a, b, aScale, bScales, aZero]);
