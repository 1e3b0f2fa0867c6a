import type { Dim } from "../dim.ts";
import { intAttribute } from "../infer.ts";
import type { attentionOps } from "../ops/attention.ts";
import {
  add,
  matmul,
  matmulTransposed,
  mul,
  neg,
  reshape,
  rotaryEmbedding,
  softmax,
  split,
  sub,
  sum,
  transpose,
} from "../ops.ts";
import type { Tensor } from "../tensor.ts";
import { type Rule, sumTo } from "./rule.ts";

/** [n, length, heads * d] to [n, heads, length, d], and back. */
function apart(x: Tensor, heads: number): Tensor {
  const [n, length, width] = x.shape as [Dim, Dim, number];
  return transpose(reshape(x, [n, length, heads, width / heads]), [0, 2, 1, 3]);
}
function together(x: Tensor): Tensor {
  const [n, heads, length, d] = x.shape as [Dim, number, Dim, number];
  return reshape(transpose(x, [0, 2, 1, 3]), [n, length, heads * d]);
}

/**
 * Probabilities P are computed again. A row's dot product of P and its gradient, which softmax takes out, is that of
 * the attention's output and its gradient: a sum over d numbers where the other is over all positions.
 */
const MultiHeadAttention: Rule = ({ operands, attributes, outputs, upstream }) => {
  const heads = intAttribute(attributes, "num_heads");
  const [q, k, v] = operands.map((t) => apart(t as Tensor, heads)) as [Tensor, Tensor, Tensor];
  const [y, g] = [outputs[0], upstream[0]].map((t) => apart(t as Tensor, heads)) as [Tensor, Tensor];
  const scaled = mul(q, 1 / Math.sqrt(q.dim(-1) as number));
  const p = softmax(matmulTransposed(scaled, k)); // [n, heads, length, length]
  const dScores = mul(p, sub(matmulTransposed(g, v), sum(mul(g, y), [-1])));
  const swapped = (t: Tensor) => transpose(t, [0, 1, 3, 2]);
  const dq = mul(matmul(dScores, k), 1 / Math.sqrt(q.dim(-1) as number));
  const dk = matmul(swapped(dScores), scaled);
  return [together(dq), together(dk), together(matmul(swapped(p), g))];
};

/** A rotation is undone by the opposite angle. */
const RotaryEmbedding: Rule = ({ operands, upstream }) => {
  const [x, , cos, sin] = operands as [Tensor, unknown, Tensor, Tensor];
  const [g] = upstream as [Tensor];
  const half = (x.dim(-1) as number) / 2;
  const [x1, x2] = split(x, [half, half], -1) as [Tensor, Tensor];
  const [g1, g2] = split(g, [half, half], -1) as [Tensor, Tensor];
  return [
    rotaryEmbedding(g, cos, neg(sin)),
    undefined,
    sumTo(add(mul(x1, g1), mul(x2, g2)), cos.shape),
    sumTo(sub(mul(x1, g2), mul(x2, g1)), sin.shape),
  ];
};

export const attentionGradients: Record<keyof typeof attentionOps, Rule> = {
  MultiHeadAttention,
  RotaryEmbedding,
  GroupQueryAttention: "none", // it answers requests; training has no cache
};
