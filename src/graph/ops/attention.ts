import { sameShape } from "../dim.ts";
import { apply, applyAll, intAttribute, mismatch, onlyDescribed, sameDType, tensorAt } from "../infer.ts";
import type { Op, Tensor } from "../tensor.ts";

/** Attention kernels of ONNX Runtime whose memory does not grow with the square of the length. */

/** Full attention: query, key, value [n, length, heads * d] -> [n, length, heads * d]. */
const MultiHeadAttention: Op = {
  name: "MultiHeadAttention",
  domain: "com.microsoft",
  infer(operands, attributes) {
    onlyDescribed("MultiHeadAttention", operands, attributes, { operands: 3, free: ["num_heads"] });
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
  infer(operands, attributes) {
    onlyDescribed("RotaryEmbedding", operands, attributes, { operands: 4 });
    const x = tensorAt("RotaryEmbedding", operands, 0);
    const [cos, sin] = [2, 3].map((i) => tensorAt("RotaryEmbedding", operands, i)) as [Tensor, Tensor];
    const half = (x.dim(-1) as number) / 2;
    if (x.rank !== 4 || !sameShape(cos.shape, [x.dim(2), half]) || !sameShape(sin.shape, cos.shape)) {
      throw mismatch("RotaryEmbedding", operands, `expected angles [${x.dim(2)}, ${half}]`);
    }
    return [x];
  },
};

/**
 * Causal attention that extends its cache in place: query [1, length, heads * d], key and value [1, length,
 * kvHeads * d], past keys and values [1, kvHeads, capacity, d], where the step stands in them, i32 [1] twice, and the
 * cosines and sines of all angles up to there, [total, d / 2], by which queries and keys are rotated.
 */
const GroupQueryAttention: Op = {
  name: "GroupQueryAttention",
  domain: "com.microsoft",
  infer(operands, attributes) {
    const [q, k, v, keys, values, cos, sin] = [0, 1, 2, 3, 4, 7, 8].map((i) =>
      tensorAt("GroupQueryAttention", operands, i),
    ) as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
    sameDType("GroupQueryAttention", [q, k, v, keys, values, cos, sin]);
    const [heads, kvHeads] = ["num_heads", "kv_num_heads"].map((a) => intAttribute(attributes, a)) as [
      number,
      number,
    ];
    const d = keys.dim(-1) as number;
    const fits =
      sameShape(q.shape, [1, q.dim(1), heads * d]) &&
      sameShape(k.shape, [1, q.dim(1), kvHeads * d]) &&
      sameShape(v.shape, k.shape) &&
      sameShape(keys.shape, [1, kvHeads, keys.dim(2), d]) &&
      sameShape(values.shape, keys.shape) &&
      sameShape(cos.shape, [cos.dim(0), d / 2]) &&
      sameShape(sin.shape, cos.shape);
    if (!fits)
      throw mismatch("GroupQueryAttention", operands, `expected ${heads} heads over ${kvHeads} of ${d}`);
    return [q, keys, values];
  },
};

export const attentionOps = { MultiHeadAttention, RotaryEmbedding, GroupQueryAttention } as const;

/** softmax(q k^T / sqrt(d)) v per head, over all positions. q, k, v [n, length, heads * d] */
export const multiHeadAttention = (q: Tensor, k: Tensor, v: Tensor, heads: number) =>
  apply(MultiHeadAttention, [q, k, v], { num_heads: { int: heads } });

/** x [n, heads, length, d] rotated by the angles whose cosine and sine are given per position, [length, d / 2]. */
export const rotaryEmbedding = (x: Tensor, cos: Tensor, sin: Tensor) =>
  apply(RotaryEmbedding, [x, { dims: [0] }, cos, sin]);

/** A cache of one layer, [1, kvHeads, capacity, d] each, and a step's place in it: i32 [1] each. */
export interface CacheOperands {
  keys: Tensor;
  values: Tensor;
  /** Index of the step's last position. */
  last: Tensor;
  /** Positions cached once the step is done. */
  total: Tensor;
}

/**
 * Causal attention of new positions over the cached ones and themselves, which rotates queries and keys, and puts the
 * new keys and values into the cache. q [1, length, heads * d]; k, v [1, length, kvHeads * d]; angles of all positions
 * up to the step's last, [total, d / 2]; the cache's memory is that of the outputs.
 */
export function groupQueryAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  cache: CacheOperands,
  angles: { cos: Tensor; sin: Tensor },
) {
  const { keys, values, last, total } = cache;
  const d = keys.dim(-1) as number;
  const operands = [q, k, v, keys, values, last, total, angles.cos, angles.sin];
  const [attended, ...extended] = applyAll(GroupQueryAttention, operands, {
    num_heads: { int: (q.dim(-1) as number) / d },
    kv_num_heads: { int: keys.dim(1) as number },
    do_rotary: { int: 1 },
  }) as [Tensor, Tensor, Tensor];
  return { attended, keys: extended[0], values: extended[1] };
}
