import { type Dim, sameDim, times } from "../dim.ts";
import { apply, broadcast, intAttribute, mismatch, sameDType, tensorAt } from "../infer.ts";
import type { Op, Operand, Tensor } from "../tensor.ts";
import { reshape, transpose } from "./layout.ts";

/** Matrix products over the last two axes; the axes before them broadcast. */

function productShape(op: string, operands: readonly Operand[], transB: boolean): readonly Dim[] {
  sameDType(op, operands);
  const a = tensorAt(op, operands, 0);
  const b = tensorAt(op, operands, 1);
  if (a.rank < 2 || b.rank < 2) throw mismatch(op, operands, "both need two axes or more");
  const [k, n] = transB ? [b.dim(-1), b.dim(-2)] : [b.dim(-2), b.dim(-1)];
  if (!sameDim(a.dim(-1), k)) throw mismatch(op, operands, `${a.dim(-1)} != ${k}`);
  const batch = broadcast(op, operands, a.shape.slice(0, -2), b.shape.slice(0, -2));
  return [...batch, a.dim(-2), n];
}

const MatMul: Op = {
  name: "MatMul",
  domain: "",
  infer: (operands) => [
    { dtype: tensorAt("MatMul", operands, 0).dtype, shape: productShape("MatMul", operands, false) },
  ],
};

/**
 * Product of two matrices, the second perhaps transposed where it lies. Of the products that can do that, it is the one
 * that every device has: FusedMatMul has no WebGPU kernel, and WebGPU's MatMul fails where the inner size is 0.
 */
const Gemm: Op = {
  name: "Gemm",
  domain: "",
  infer(operands, attributes) {
    const shape = productShape("Gemm", operands, intAttribute(attributes, "transB") === 1);
    if (shape.length !== 2) throw mismatch("Gemm", operands, "both must be matrices");
    return [{ dtype: tensorAt("Gemm", operands, 0).dtype, shape }];
  },
};

export const matmulOps = { MatMul, Gemm } as const;

const gemm = (a: Tensor, b: Tensor, transB: 0 | 1) => apply(Gemm, [a, b], { transB: { int: transB } });

/** a [.., m, k] x b [.., k, n] -> [.., m, n] */
export const matmul = (a: Tensor, b: Tensor) =>
  a.rank === 2 && b.rank === 2 ? gemm(a, b, 0) : apply(MatMul, [a, b]);

/** a [.., m, k] x b [.., n, k] transposed -> [.., m, n]; a matrix b is not copied. */
export function matmulTransposed(a: Tensor, b: Tensor): Tensor {
  if (b.rank > 2) {
    const axes = b.shape.map((_, i) => i);
    return apply(MatMul, [a, transpose(b, [...axes.slice(0, -2), b.rank - 1, b.rank - 2])]);
  }
  if (a.rank === 2) return gemm(a, b, 1);
  const rows = reshape(a, [times(...a.shape.slice(0, -1)), a.dim(-1)]);
  return reshape(gemm(rows, b, 1), [...a.shape.slice(0, -1), b.dim(0)]);
}
