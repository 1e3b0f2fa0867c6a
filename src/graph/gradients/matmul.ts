import { intAttribute } from "../infer.ts";
import type { matmulOps } from "../ops/matmul.ts";
import { gemm, matmul, matmulTransposed, reshape, transpose } from "../ops.ts";
import type { Tensor } from "../tensor.ts";
import { flat, type Rule, sumTo } from "./rule.ts";

function transposed(x: Tensor): Tensor {
  const axes = x.shape.map((_, i) => i);
  return transpose(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
}

/**
 * y = a b: da = g b^T, db = a^T g. A matrix b that all batches share takes part as one product of matrices. ONNX Runtime
 * takes the transposes of batches into the products; those products need at least one row in at least one batch.
 */
const MatMul: Rule = ({ operands, upstream }) => {
  const [a, b] = operands as [Tensor, Tensor];
  const [g] = upstream as [Tensor];
  if (b.rank === 2) return [reshape(gemm(flat(g), b, 0, 1), a.shape), gemm(flat(a), flat(g), 1, 0)];
  return [sumTo(matmulTransposed(g, b), a.shape), sumTo(matmul(transposed(a), g), b.shape)];
};

/** The transposes go to where they cost nothing: into the products. */
const Gemm: Rule = ({ operands, attributes, upstream }) => {
  const [a, b] = operands as [Tensor, Tensor];
  const [g] = upstream as [Tensor];
  const [transA, transB] = ["transA", "transB"].map((name) => intAttribute(attributes, name) as 0 | 1) as [
    0 | 1,
    0 | 1,
  ];
  const other = (flag: 0 | 1) => (flag === 1 ? 0 : 1);
  return [
    transA ? gemm(b, g, transB, 1) : gemm(g, b, 0, other(transB)),
    transB ? gemm(g, a, 1, transA) : gemm(a, g, other(transA), 0),
  ];
};

export const matmulGradients: Record<keyof typeof matmulOps, Rule> = { MatMul, Gemm };
