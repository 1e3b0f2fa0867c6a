import { type Dim, sameDim, times } from "../dim.ts";
import { apply, broadcast, intAttribute, mismatch, onlyDescribed, sameDType, tensorAt } from "../infer.ts";
import type { Op, Operand, Tensor } from "../tensor.ts";
import { reshape, transpose } from "./layout.ts";

/** Matrix products over the last two axes; the axes before them broadcast. */

interface Transposed {
  a: boolean;
  b: boolean;
}

function productShape(op: string, operands: readonly Operand[], transposed: Transposed): readonly Dim[] {
  sameDType(op, operands);
  const a = tensorAt(op, operands, 0);
  const b = tensorAt(op, operands, 1);
  if (a.rank < 2 || b.rank < 2) throw mismatch(op, operands, "both need two axes or more");
  const [m, inner] = transposed.a ? [a.dim(-1), a.dim(-2)] : [a.dim(-2), a.dim(-1)];
  const [k, n] = transposed.b ? [b.dim(-1), b.dim(-2)] : [b.dim(-2), b.dim(-1)];
  if (!sameDim(inner, k)) throw mismatch(op, operands, `${inner} != ${k}`);
  const batch = broadcast(op, operands, a.shape.slice(0, -2), b.shape.slice(0, -2));
  return [...batch, m, n];
}

const MatMul: Op = {
  name: "MatMul",
  domain: "",
  infer(operands, attributes) {
    onlyDescribed("MatMul", operands, attributes, { operands: 2 });
    const shape = productShape("MatMul", operands, { a: false, b: false });
    return [{ dtype: tensorAt("MatMul", operands, 0).dtype, shape }];
  },
};

/**
 * Product of two matrices, each perhaps transposed where it lies. Of the products that can do that, it is the one
 * that every device has: FusedMatMul has no WebGPU kernel, and WebGPU's MatMul fails where the inner size is 0.
 */
const Gemm: Op = {
  name: "Gemm",
  domain: "",
  infer(operands, attributes) {
    onlyDescribed("Gemm", operands, attributes, { operands: 2, free: ["transA", "transB"] });
    const [a, b] = ["transA", "transB"].map((name) => intAttribute(attributes, name) === 1) as [
      boolean,
      boolean,
    ];
    const shape = productShape("Gemm", operands, { a, b });
    if (shape.length !== 2) throw mismatch("Gemm", operands, "both must be matrices");
    return [{ dtype: tensorAt("Gemm", operands, 0).dtype, shape }];
  },
};

export const matmulOps = { MatMul, Gemm } as const;

/** Product of matrices; 1 says that one is transposed first, without a copy. */
export const gemm = (a: Tensor, b: Tensor, transA: 0 | 1, transB: 0 | 1) =>
  apply(Gemm, [a, b], { transA: { int: transA }, transB: { int: transB } });

/** a [.., m, k] x b [.., k, n] -> [.., m, n] */
export const matmul = (a: Tensor, b: Tensor) =>
  a.rank === 2 && b.rank === 2 ? gemm(a, b, 0, 0) : apply(MatMul, [a, b]);

/** a [.., m, k] x b [.., n, k] transposed -> [.., m, n]; a matrix b is not copied. */
export function matmulTransposed(a: Tensor, b: Tensor): Tensor {
  if (b.rank > 2) {
    const axes = b.shape.map((_, i) => i);
    return apply(MatMul, [a, transpose(b, [...axes.slice(0, -2), b.rank - 1, b.rank - 2])]);
  }
  if (a.rank === 2) return gemm(a, b, 0, 1);
  const rows = reshape(a, [times(...a.shape.slice(0, -1)), a.dim(-1)]);
  return reshape(gemm(rows, b, 0, 1), [...a.shape.slice(0, -1), b.dim(0)]);
}
