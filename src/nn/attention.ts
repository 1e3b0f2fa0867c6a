import { type Dim, plus, times } from "../graph/dim.ts";
import {
  add,
  cast,
  concat,
  cos,
  dimValue,
  greater,
  matmul,
  matmulTransposed,
  mul,
  multiHeadAttention,
  range,
  reshape,
  rotaryEmbedding,
  scalar,
  sin,
  softmax,
  split,
  where,
} from "../graph/ops.ts";
import { constant, type Tensor } from "../graph/tensor.ts";
import { linear } from "./layers.ts";
import type { Params } from "./params.ts";

/** Full attention within each image, queries, keys and values from one matrix. x [n, length, width] -> same. */
export function imageAttention(p: Params, x: Tensor, heads: number): Tensor {
  const width = x.dim(-1);
  const [q, k, v] = split(linear(p.at("qkv"), x), [width, width, width], -1) as [Tensor, Tensor, Tensor];
  return linear(p.at("proj"), multiHeadAttention(q, k, v, heads));
}

/** Cosine and sine of the rotary angles, [length, d / 2] each. */
export interface Rotary {
  cos: Tensor;
  sin: Tensor;
}

/** Rotary angles of positions i64 [length]: position * theta^(-2i / d). */
export function rotary(positions: Tensor, d: number, theta: number): Rotary {
  // In single precision, step by step, because that is how the published models were trained.
  const frequencies = Float32Array.from({ length: d / 2 }, (_, i) =>
    Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / d))),
  );
  const column = reshape(cast(positions, "f32"), [positions.dim(0), 1]);
  const angles = mul(column, constant({ dtype: "f32", shape: [1, d / 2], data: frequencies }));
  return { cos: cos(angles), sin: sin(angles) };
}

/** Rotates x [heads, length, d] or [n, heads, length, d]. */
export function rotate(x: Tensor, { cos, sin }: Rotary): Tensor {
  if (x.rank === 4) return rotaryEmbedding(x, cos, sin);
  return reshape(rotaryEmbedding(reshape(x, [1, ...x.shape]), cos, sin), x.shape);
}

/** Keys and values of one layer, a tensor [length, d] for each KV head: a head's rows lie together in the cache. */
export interface KeysValues {
  keys: Tensor[];
  values: Tensor[];
}

/** 0 where row i may see column j <= i, and minus infinity elsewhere: [length, length]. */
export function causalMask(length: Dim): Tensor {
  const row = reshape(range(length), [length, 1]);
  const column = reshape(range(length), [1, length]);
  return where(greater(column, row), scalar(Number.NEGATIVE_INFINITY, "f32"), scalar(0, "f32"));
}

/**
 * Grouped-query attention of new positions over the cached ones and themselves.
 *
 * The query heads of one KV head are stacked as rows of one product, so that each cached key and value is read
 * once. The cache and the new rows are two segments under one softmax: the cache is only ever read, and never
 * joined with anything, so a step costs no copy of it.
 *
 * @param q [heads, length, d], rotated. @param fresh new keys (rotated) and values. @param past cached ones.
 * @param mask {@link causalMask} of the new positions. @returns [heads, length, d]
 */
export function cachedAttention(
  q: Tensor,
  fresh: KeysValues,
  past: KeysValues | undefined,
  mask: Tensor,
): Tensor {
  const [heads, length, d] = q.shape as [number, Dim, number];
  const kvHeads = fresh.keys.length;
  const group = heads / kvHeads;
  const scaled = mul(q, 1 / Math.sqrt(d));
  const perHead = split(scaled, Array<number>(kvHeads).fill(group), 0).map((part, h) => {
    const rows = reshape(part, [times(group, length), d]);
    const segments = [past, fresh]
      .filter((kv) => kv !== undefined)
      .map((kv): Segment => ({ keys: kv.keys[h] as Tensor, values: kv.values[h] as Tensor }));
    return reshape(attend(rows, segments, mask, group), [group, length, d]);
  });
  return concat(perHead, 0);
}

/** Keys and values [length, d] of one KV head. */
interface Segment {
  keys: Tensor;
  values: Tensor;
}

/** One KV head: rows [group * length, d] over segments of which the last is causal among the new positions. */
function attend(rows: Tensor, segments: readonly Segment[], mask: Tensor, group: number): Tensor {
  const length = mask.dim(0);
  const scores = segments.map(({ keys }, i) => {
    const s = matmulTransposed(rows, keys); // [group * length, segment]
    if (i < segments.length - 1) return s;
    return reshape(add(reshape(s, [group, length, length]), mask), s.shape);
  });
  const sizes = segments.map(({ keys }) => keys.dim(0));
  const weights = split(softmax(concat(scores, 1)), sizes, 1);
  return weights.map((w, i) => matmul(w, (segments[i] as Segment).values)).reduce(add);
}

/** 0 where new row i may see column j <= cached + i, and minus infinity elsewhere: [length, cached + length]. */
export function promptMask(cached: Dim, length: Dim): Tensor {
  const all = plus(cached, length);
  const row = reshape(add(range(length), dimValue(cached, "i64")), [length, 1]);
  const column = reshape(range(all), [1, all]);
  return where(greater(column, row), scalar(Number.NEGATIVE_INFINITY, "f32"), scalar(0, "f32"));
}

/**
 * What {@link cachedAttention} computes, for many new positions: one query head at a time, so that its scores stay in
 * the processor's cache, over keys and values that are joined first, since they are small against so many rows' scores.
 * @param mask {@link promptMask}
 */
export function promptAttention(q: Tensor, fresh: KeysValues, past: KeysValues, mask: Tensor): Tensor {
  const [heads, length, d] = q.shape as [number, Dim, number];
  const join = (part: "keys" | "values") =>
    fresh[part].map((rows, h) => concat([past[part][h] as Tensor, rows], 0));
  const [keys, values] = [join("keys"), join("values")];
  const scaled = mul(q, 1 / Math.sqrt(d));
  const perHead = split(scaled, Array<number>(heads).fill(1), 0).map((part, h) => {
    const kv = Math.floor(h / (heads / keys.length));
    const scores = add(matmulTransposed(reshape(part, [length, d]), keys[kv] as Tensor), mask);
    return reshape(matmul(softmax(scores), values[kv] as Tensor), [1, length, d]);
  });
  return concat(perHead, 0);
}

/** Parts of a sequence whose queries are taken together by {@link causalAttention}. */
export const CAUSAL_BLOCKS = 4;

/** Share of the scores of whole sequences that {@link causalAttention} computes: those behind a block it leaves out. */
export const CAUSAL_SHARE = (CAUSAL_BLOCKS + 1) / (2 * CAUSAL_BLOCKS);

/** For each block of queries, its {@link promptMask} over those before it and itself. */
export const causalMasks = (block: Dim): Tensor[] =>
  Array.from({ length: CAUSAL_BLOCKS }, (_, i) => promptMask(times(i, block), block));

/**
 * Grouped-query attention within whole sequences of one length, each place over itself and those before it. The
 * queries come in blocks, and a block's scores end with it.
 * @param q [n, heads, CAUSAL_BLOCKS * block, d], rotated. @param k [n, kvHeads, CAUSAL_BLOCKS * block, d], rotated.
 * @param v as k. @param masks {@link causalMasks} of the block's length. @returns [n, heads, CAUSAL_BLOCKS * block, d]
 */
export function causalAttention(q: Tensor, k: Tensor, v: Tensor, masks: readonly Tensor[]): Tensor {
  const [n, heads, , d] = q.shape as [Dim, number, Dim, number];
  const kvHeads = k.dim(1) as number;
  const group = heads / kvHeads;
  const inBlocks = (t: Tensor) =>
    split(
      t,
      masks.map((mask) => mask.dim(0)),
      2,
    );
  const [keys, values] = [inBlocks(k), inBlocks(v)];
  const attended = inBlocks(mul(q, 1 / Math.sqrt(d))).map((rows, i) => {
    const mask = masks[i] as Tensor;
    const [block, seen] = mask.shape as [Dim, Dim];
    const upTo = (blocks: readonly Tensor[]) => concat(blocks.slice(0, i + 1), 2); // [n, kvHeads, seen, d]
    const stacked = reshape(rows, [n, kvHeads, times(group, block), d]);
    const scores = matmulTransposed(stacked, upTo(keys)); // [n, kvHeads, group * block, seen]
    const masked = add(reshape(scores, [n, kvHeads, group, block, seen]), mask);
    return reshape(matmul(reshape(softmax(masked), scores.shape), upTo(values)), rows.shape);
  });
  return concat(attended, 2);
}
