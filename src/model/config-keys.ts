import { OryxError, quote } from "../core/errors.ts";

/**
 * Keys of published configs that sound like maths but do not touch inference: how the model was trained, what its
 * author's machine had, what only dropout or initialisation reads, and switches that the released code never reads.
 */
const HARMLESS = new Set([
  "_attn_implementation",
  "_attn_implementation_autoset",
  "attention_dropout",
  "freeze_mm_mlp_adapter",
  "freeze_mm_vision_resampler",
  "initializer_range",
  "mm_mask_drop_mode",
  "mm_mask_drop_ratio",
  "mm_mask_drop_ratio_lower",
  "mm_mask_drop_ratio_upper",
  "mm_mask_drop_skip_percentage",
  "mm_newline_position",
  "mm_patch_merge_type",
  "mm_perceiver_depth",
  "mm_perceiver_latents",
  "mm_perceiver_ff_mult",
  "mm_perceiver_pretrained",
  "mm_projector_lr",
  "mm_qformer_depth",
  "mm_qformer_latents",
  "mm_qformer_pretrained",
  "mm_resampler_lr",
  "mm_spatial_pool_mode",
  "mm_spatial_pool_out_channels",
  "mm_spatial_pool_stride",
  "mm_tunable_parts",
  "mm_vision_resampler_lr",
  "mm_vision_select_feature",
  "mm_vision_select_layer", // the released tower has its own, fixed at the last block
  "mm_vision_tower_lr",
  "num_beam_groups",
  "num_beams",
  "num_return_sequences",
  "output_attentions",
  "output_hidden_states",
  "pos_skipping_range", // of training: positions are not skipped in inference
  "pretraining_tp", // how the projections were split over machines; their product is the same
  "tune_mm_mlp_adapter",
  "tune_mm_vision_resampler",
  "unfreeze_mm_vision_tower",
  "use_mm_proj",
  "use_pos_skipping",
  "vision_tower_pretrained",
]);

/** Words that occur in the names of switches of architecture. */
const MATHS_WORDS = new Set(
  (
    "act activation alibi attention attn bias compressor embedding embeddings expert experts factor gate head heads " +
    "hidden kv layer layernorm layers logit logits lora mlp mm moe multiplier norm num partial pool pos position " +
    "positions projector q qk qkv quant quantization residual resampler rope rotary router scale scaling " +
    "sliding softcap softcapping theta vision window"
  ).split(" "),
);

/**
 * The policy for keys that are not read. A null means "not set" and passes. A key on the list above passes. Any
 * other key with a word of architecture in its name (split at underscores: `rope_foo`, `qk_norm`, `mm_new_thing`)
 * is refused, so that neither a typo nor a new architecture computes nonsense in silence. The rest passes.
 * @throws OryxError `config_invalid`, naming every refused key
 */
export function refuseUnknownKeys(read: readonly string[], json: Readonly<Record<string, unknown>>): void {
  const refused = Object.keys(json).filter((key) => {
    if (json[key] === null || read.includes(key) || HARMLESS.has(key)) return false;
    return key
      .toLowerCase()
      .split("_")
      .some((word) => MATHS_WORDS.has(word));
  });
  if (refused.length === 0) return;
  const shown = refused.slice(0, 10).map(quote).join(", ");
  throw new OryxError(
    "config_invalid",
    `config.json: ${refused.length === 1 ? "a key" : `${refused.length} keys`} of unknown effect: ${shown}`,
    "use a published Oryx model; remove a key only if you know that it changes nothing",
  );
}
