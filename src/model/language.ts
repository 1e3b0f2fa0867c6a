import { type Dim, times } from "../graph/dim.ts";
import {
  add,
  type CacheOperands,
  gather,
  groupQueryAttention,
  range,
  reshape,
  split,
  transpose,
} from "../graph/ops.ts";
import type { Tensor } from "../graph/tensor.ts";
import {
  CAUSAL_BLOCKS,
  cachedAttention,
  causalAttention,
  causalMask,
  causalMasks,
  type KeysValues,
  promptAttention,
  promptMask,
  rotary,
  rotate,
} from "../nn/attention.ts";
import { linear, linears, rmsNorm, swiGlu } from "../nn/layers.ts";
import type { Params } from "../nn/params.ts";
import type { LanguageConfig } from "./config.ts";

/**
 * How the rows of one layer attend, which the caller knows: projected queries [rows, heads * d], keys and values
 * [rows, kvHeads * d] -> [rows, heads * d]. {@link attentionOverCache} and {@link attentionInPlace} answer
 * requests, {@link attentionWithin} trains.
 */
export type Attention = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

/**
 * The Qwen2 / Llama language model over embedded tokens.
 * @param p the parameters under `model.` @param x embeddings [rows, width]
 * @returns the last layer's output [rows, width] before the final norm
 */
export function languageModel(p: Params, config: LanguageConfig, x: Tensor, attention: Attention): Tensor {
  let hidden = x;
  for (let i = 0; i < config.layers; i++) {
    const layer = p.at(`layers.${i}`);
    const attn = layer.at("self_attn");
    const normed = rmsNorm(layer.at("input_layernorm"), hidden, config.rmsNormEps);
    const [q, k, v] = linears(attn, "qkv_proj", normed) as [Tensor, Tensor, Tensor];
    const attended = attention(i, q, k, v);
    hidden = add(hidden, linear(attn.at("o_proj"), attended));
    const normed2 = rmsNorm(layer.at("post_attention_layernorm"), hidden, config.rmsNormEps);
    hidden = add(hidden, swiGlu(layer.at("mlp"), normed2));
  }
  return hidden;
}

/** How many tokens come at a time, for which attention has a form each: a few or many (both are right for any number). */
export type Pace = "steps" | "prompts";

/**
 * Attention of one sequence over what is cached of it and itself.
 * @param positions i64 [rows] @param past cached keys and values of each layer; absent: the rows begin the sequence
 * @returns the attention, and where it puts each layer's new keys and values
 */
export function attentionOverCache(
  { heads, kvHeads, headDim, ropeTheta }: LanguageConfig,
  positions: Tensor,
  past?: readonly KeysValues[],
  pace: Pace = "steps",
): { attention: Attention; present: KeysValues[] } {
  const length = positions.dim(0);
  const angles = rotary(positions, headDim, ropeTheta);
  const cached = pace === "prompts" ? past?.[0]?.keys[0]?.dim(0) : undefined;
  const mask = cached === undefined ? causalMask(length) : promptMask(cached, length);
  const byHead = (t: Tensor, count: number) => transpose(reshape(t, [length, count, headDim]), [1, 0, 2]);
  const perHead = (t: Tensor) =>
    split(t, Array<number>(kvHeads).fill(1), 0).map((head) => reshape(head, [length, headDim]));
  const present: KeysValues[] = [];
  const attention: Attention = (layer, q, k, v) => {
    const fresh = {
      keys: perHead(rotate(byHead(k, kvHeads), angles)),
      values: perHead(byHead(v, kvHeads)),
    };
    present[layer] = fresh;
    const queries = rotate(byHead(q, heads), angles);
    const before = past?.[layer];
    const attended =
      cached !== undefined && before !== undefined
        ? promptAttention(queries, fresh, before, mask)
        : cachedAttention(queries, fresh, before, mask);
    return reshape(transpose(attended, [1, 0, 2]), [length, heads * headDim]);
  };
  return { attention, present };
}

/**
 * The same over whole caches, by one operation a layer: what is new is written into them, behind what is cached.
 * @param positions i64 [total], all up to the last row's
 * @param past each layer's cache @returns the attention, and each layer's cache with the new keys and values in it
 */
export function attentionInPlace(
  { headDim, ropeTheta }: LanguageConfig,
  positions: Tensor,
  past: readonly CacheOperands[],
): { attention: Attention; present: Pick<CacheOperands, "keys" | "values">[] } {
  const angles = rotary(positions, headDim, ropeTheta);
  const batched = (t: Tensor) => reshape(t, [1, ...t.shape]);
  const present: Pick<CacheOperands, "keys" | "values">[] = [];
  const attention: Attention = (layer, q, k, v) => {
    const cache = past[layer] as CacheOperands;
    const { attended, ...extended } = groupQueryAttention(batched(q), batched(k), batched(v), cache, angles);
    present[layer] = extended;
    return reshape(attended, q.shape);
  };
  return { attention, present };
}

/**
 * Attention within each of `n` whole sequences of one length, {@link CAUSAL_BLOCKS} times `block`; x holds them one
 * behind the other, [n * length, width].
 */
export function attentionWithin(
  { heads, kvHeads, headDim, ropeTheta }: LanguageConfig,
  n: Dim,
  block: Dim,
): Attention {
  const length = times(CAUSAL_BLOCKS, block);
  const angles = rotary(range(length), headDim, ropeTheta);
  const masks = causalMasks(block);
  const byHead = (t: Tensor, count: number) =>
    transpose(reshape(t, [n, length, count, headDim]), [0, 2, 1, 3]); // [n, count, length, d]
  return (_layer, q, k, v) => {
    const [queries, keys] = [rotate(byHead(q, heads), angles), rotate(byHead(k, kvHeads), angles)];
    const attended = causalAttention(queries, keys, byHead(v, kvHeads), masks);
    return reshape(transpose(attended, [0, 2, 1, 3]), [times(n, length), heads * headDim]);
  };
}

/** Logits [chosen, vocabulary] at chosen rows of the hidden states. `p` is the root: the head lies beside `model.` */
export function logitsAt(p: Params, config: LanguageConfig, hidden: Tensor, rows: Tensor): Tensor {
  const chosen = rmsNorm(p.at("model.norm"), gather(hidden, rows), config.rmsNormEps);
  // A tied head is the embedding's table, unless it is stored once more in a way that products want.
  const own = !config.tiedEmbeddings || p.at("lm_head").has("weight");
  return linear(p.at(own ? "lm_head" : "model.embed_tokens"), chosen);
}
