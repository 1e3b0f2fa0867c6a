import type { Dim } from "../../src/graph/dim.ts";
import { applyAll, floatAttribute, intAttribute } from "../../src/graph/infer.ts";
import * as op from "../../src/graph/ops.ts";
import { inOrder } from "../../src/graph/order.ts";
import { type Apply, type Attributes, type Operand, Tensor } from "../../src/graph/tensor.ts";

/** The slower truth of compound operations: what their kernels compute, as their definitions say, in basic ones. */

/** The outputs of an operation, by other operations. */
export type Decomposition = (operands: readonly Operand[], attributes: Attributes) => Tensor[];

/** (x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis; without the mean for RMSNorm. */
function normalisation(centred: boolean): Decomposition {
  return (operands, attributes) => {
    const [x, scale, bias] = operands as [Tensor, Tensor, Tensor | undefined];
    const centre = centred ? op.sub(x, op.mean(x, [-1])) : x;
    const variance = op.mean(op.mul(centre, centre), [-1]);
    const deviation = op.sqrt(op.add(variance, floatAttribute(attributes, "epsilon")));
    const scaled = op.mul(op.div(centre, deviation), scale);
    return [bias === undefined ? scaled : op.add(scaled, bias)];
  };
}

function softmax(x: Tensor): Tensor {
  const powers = op.exp(op.sub(x, op.max(x, [-1])));
  return op.div(powers, op.sum(powers, [-1]));
}

function logSoftmax(x: Tensor): Tensor {
  const shifted = op.sub(x, op.max(x, [-1]));
  return op.sub(shifted, op.log(op.sum(op.exp(shifted), [-1])));
}

const gelu = (x: Tensor) => op.mul(op.mul(x, 0.5), op.add(op.erf(op.mul(x, Math.SQRT1_2)), 1));

const attention: Decomposition = (operands, attributes) => {
  const heads = intAttribute(attributes, "num_heads");
  const [q, k, v] = (operands as Tensor[]).map((x) => {
    const [n, length, width] = x.shape as [Dim, Dim, number];
    return op.transpose(op.reshape(x, [n, length, heads, width / heads]), [0, 2, 1, 3]);
  }) as [Tensor, Tensor, Tensor];
  const scores = op.mul(op.matmulTransposed(q, k), 1 / Math.sqrt(q.dim(-1) as number));
  const attended = op.matmul(softmax(scores), v); // [n, heads, length, d]
  return [op.reshape(op.transpose(attended, [0, 2, 1, 3]), (operands[0] as Tensor).shape)];
};

const rotary: Decomposition = (operands) => {
  const [x, , cos, sin] = operands as [Tensor, Operand, Tensor, Tensor];
  const half = cos.dim(-1);
  const [x1, x2] = op.split(x, [half, half], -1) as [Tensor, Tensor];
  const turned = [op.sub(op.mul(x1, cos), op.mul(x2, sin)), op.add(op.mul(x2, cos), op.mul(x1, sin))];
  return [op.concat(turned, -1)];
};

/** Every operation that has a definition in basic ones. */
export const DECOMPOSITIONS = {
  LayerNormalization: normalisation(true),
  SimplifiedLayerNormalization: normalisation(false),
  Softmax: ([x]) => [softmax(x as Tensor)],
  LogSoftmax: ([x]) => [logSoftmax(x as Tensor)],
  Gelu: ([x]) => [gelu(x as Tensor)],
  MultiHeadAttention: attention,
  RotaryEmbedding: rotary,
} as const satisfies Partial<Record<op.OpName, Decomposition>>;

/**
 * The same values by basic operations, which have kernels in double precision.
 * @param rules what to replace, by an operation's name; a replacement is not replaced again
 */
export function decompose(
  roots: readonly Tensor[],
  rules: Readonly<Record<string, Decomposition>> = DECOMPOSITIONS,
): Tensor[] {
  const made = new Map<Apply, Tensor[]>();
  const replaced = (x: Operand): Operand =>
    x instanceof Tensor && x.source.kind === "apply"
      ? ((made.get(x.source.apply) as Tensor[])[x.source.output] as Tensor)
      : x;
  for (const a of inOrder(roots)) {
    const operands = a.operands.map(replaced);
    const rule = Object.hasOwn(rules, a.op.name) ? rules[a.op.name] : undefined;
    made.set(a, rule?.(operands, a.attributes) ?? applyAll(a.op, operands, a.attributes));
  }
  return roots.map((t) => replaced(t) as Tensor);
}
