import { add, gather, reshape, split, transpose } from "../graph/ops.ts";
import type { Tensor } from "../graph/tensor.ts";
import {
  cachedAttention,
  causalMask,
  type KeysValues,
  type Rotary,
  rotary,
  rotate,
} from "../nn/attention.ts";
import { linear, rmsNorm, swiGlu } from "../nn/layers.ts";
import type { Params } from "../nn/params.ts";
import type { LanguageConfig } from "./config.ts";

/**
 * The Qwen2 / Llama language model over embedded tokens.
 * @param p the parameters under `model.` @param x embeddings [length, width] @param positions i64 [length]
 * @param past cached keys and values of each layer; absent: x begins the sequence
 * @returns the last layer's output [length, width] before the final norm, and the new keys and values
 */
export function languageModel(
  p: Params,
  config: LanguageConfig,
  x: Tensor,
  positions: Tensor,
  past?: readonly KeysValues[],
): { hidden: Tensor; present: KeysValues[] } {
  const angles = rotary(positions, config.headDim, config.ropeTheta);
  const mask = causalMask(x.dim(0));
  const present: KeysValues[] = [];
  let hidden = x;
  for (let i = 0; i < config.layers; i++) {
    const layer = p.at(`layers.${i}`);
    const normed = rmsNorm(layer.at("input_layernorm"), hidden, config.rmsNormEps);
    const attended = selfAttention(layer.at("self_attn"), config, normed, angles, mask, past?.[i]);
    present.push(attended.fresh);
    hidden = add(hidden, attended.out);
    const normed2 = rmsNorm(layer.at("post_attention_layernorm"), hidden, config.rmsNormEps);
    hidden = add(hidden, swiGlu(layer.at("mlp"), normed2));
  }
  return { hidden, present };
}

function selfAttention(
  p: Params,
  config: LanguageConfig,
  x: Tensor,
  angles: Rotary,
  mask: Tensor,
  past: KeysValues | undefined,
): { out: Tensor; fresh: KeysValues } {
  const { heads, kvHeads, headDim } = config;
  const length = x.dim(0);
  const byHead = (name: string, count: number) =>
    transpose(reshape(linear(p.at(name), x), [length, count, headDim]), [1, 0, 2]); // [count, length, d]
  const perHead = (t: Tensor) =>
    split(t, Array<number>(kvHeads).fill(1), 0).map((head) => reshape(head, [length, headDim]));
  const q = rotate(byHead("q_proj", heads), angles);
  const fresh = {
    keys: perHead(rotate(byHead("k_proj", kvHeads), angles)),
    values: perHead(byHead("v_proj", kvHeads)),
  };
  const attended = transpose(cachedAttention(q, fresh, past, mask), [1, 0, 2]);
  return { out: linear(p.at("o_proj"), reshape(attended, [length, heads * headDim])), fresh };
}

/** Logits [chosen, vocabulary] at chosen rows of the hidden states. `p` is the root: the head lies beside `model.` */
export function logitsAt(p: Params, config: LanguageConfig, hidden: Tensor, rows: Tensor): Tensor {
  const chosen = rmsNorm(p.at("model.norm"), gather(hidden, rows), config.rmsNormEps);
  // A tied head is the embedding's table, unless it is stored once more in a way that products want.
  const own = !config.tiedEmbeddings || p.at("lm_head").has("weight");
  return linear(p.at(own ? "lm_head" : "model.embed_tokens"), chosen);
}
