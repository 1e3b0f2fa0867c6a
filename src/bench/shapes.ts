import { type OryxConfig, parseConfig } from "../model/config.ts";
import type { VisionShape } from "../model/vit.ts";

/**
 * Shapes of published models. Speed depends on them and not on what the weights have learnt, so random ones
 * serve, and nothing is downloaded.
 */

/** Language models, from their `config.json`. */
const LANGUAGE = {
  "qwen2.5-0.5b": {
    hidden: 896,
    mlp: 4864,
    layers: 24,
    heads: 14,
    kvHeads: 2,
    vocabulary: 151936,
    tied: true,
  },
  "qwen2.5-1.5b": {
    hidden: 1536,
    mlp: 8960,
    layers: 28,
    heads: 12,
    kvHeads: 2,
    vocabulary: 151936,
    tied: true,
  },
  "qwen2.5-7b": {
    hidden: 3584,
    mlp: 18944,
    layers: 28,
    heads: 28,
    kvHeads: 4,
    vocabulary: 152064,
    tied: false,
  },
} as const;

export type LanguageShape = keyof typeof LANGUAGE;
export const LANGUAGE_SHAPES = Object.keys(LANGUAGE) as LanguageShape[];

/** OryxViT as published. */
export const ORYX_VIT: VisionShape = { width: 1152, blocks: 27, heads: 16, mlpWidth: 4304, grid: 128 };

/** Rows of the published compressor's projections. */
export const COMPRESSOR_WIDTH = 256;

/** The config of an Oryx with a language model of this shape. */
export function configOf(shape: LanguageShape): OryxConfig {
  const { hidden, mlp, layers, heads, kvHeads, vocabulary, tied } = LANGUAGE[shape];
  return parseConfig({
    model_type: "oryx_qwen",
    hidden_size: hidden,
    intermediate_size: mlp,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    vocab_size: vocabulary,
    max_position_embeddings: 32768,
    tie_word_embeddings: tied,
    mm_hidden_size: ORYX_VIT.width,
    mm_projector_type: "simple_mlp_twoview",
    mm_vision_num_heads: ORYX_VIT.heads,
  });
}
