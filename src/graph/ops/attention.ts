import { sameShape } from "../dim.ts";
import { apply, mismatch, sameDType, tensorAt } from "../infer.ts";
import type { Op, Tensor } from "../tensor.ts";

/** Attention kernels of ONNX Runtime whose memory does not grow with the square of the length. */

/** Full attention: query, key, value [n, length, heads * d] -> [n, length, heads * d]. */
const MultiHeadAttention: Op = {
  name: "MultiHeadAttention",
  domain: "com.microsoft",
  infer(operands) {
    sameDType("MultiHeadAttention", operands);
    const [q, k, v] = [0, 1, 2].map((i) => tensorAt("MultiHeadAttention", operands, i)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    if (
      q.rank !== 3 ||
      !sameShape(k.shape, v.shape) ||
      !sameShape([q.dim(0), q.dim(2)], [k.dim(0), k.dim(2)])
    ) {
      throw mismatch("MultiHeadAttention", operands, "expected [n, length, width] three times");
    }
    return [q];
  },
};

/** Rotate-half positions: x [n, heads, length, d], angles' cosine and sine [length, d / 2]. */
const RotaryEmbedding: Op = {
  name: "RotaryEmbedding",
  domain: "com.microsoft",
  infer(operands) {
    const x = tensorAt("RotaryEmbedding", operands, 0);
    const [cos, sin] = [2, 3].map((i) => tensorAt("RotaryEmbedding", operands, i)) as [Tensor, Tensor];
    const half = (x.dim(-1) as number) / 2;
    if (x.rank !== 4 || !sameShape(cos.shape, [x.dim(2), half]) || !sameShape(sin.shape, cos.shape)) {
      throw mismatch("RotaryEmbedding", operands, `expected angles [${x.dim(2)}, ${half}]`);
    }
    return [x];
  },
};

export const attentionOps = { MultiHeadAttention, RotaryEmbedding } as const;

/** softmax(q k^T / sqrt(d)) v per head, over all positions. q, k, v [n, length, heads * d] */
export const multiHeadAttention = (q: Tensor, k: Tensor, v: Tensor, heads: number) =>
  apply(MultiHeadAttention, [q, k, v], { num_heads: { int: heads } });

/** x [n, heads, length, d] rotated by the angles whose cosine and sine are given per position, [length, d / 2]. */
export const rotaryEmbedding = (x: Tensor, cos: Tensor, sin: Tensor) =>
  apply(RotaryEmbedding, [x, { dims: [0] }, cos, sin]);
