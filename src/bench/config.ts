import { type OryxConfig, parseConfig } from "../model/config.ts";
import { LANGUAGE, type LanguageShape, ORYX_VIT } from "./shapes.ts";

/** The config of an Oryx with a language model of this shape. */
export function configOf(shape: LanguageShape): OryxConfig {
  const { hidden, mlp, layers, heads, kvHeads, vocabulary, tied } = LANGUAGE[shape];
  return parseConfig({
    model_type: shape.startsWith("yi") ? "oryx_llama" : "oryx_qwen",
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
