import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import { endIds, parseConfig, parseGenerationConfig } from "./config.ts";
import { PUBLISHED_VIEWS } from "./views.ts";

const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../test/fixtures/${name}`, import.meta.url), "utf8"));

/** The keys of a published 7B config: Qwen2's, and those that LLaVA-style training leaves behind. */
const PUBLISHED_7B = {
  _name_or_path: "/home/author/checkpoints/oryx-7b",
  architectures: ["OryxQwenForCausalLM"],
  attention_dropout: 0.0,
  bos_token_id: 151643,
  eos_token_id: 151645,
  hidden_act: "silu",
  hidden_size: 3584,
  image_aspect_ratio: "anyres",
  image_crop_resolution: null,
  image_grid_pinpoints: null,
  image_split_resolution: null,
  initializer_range: 0.02,
  intermediate_size: 18944,
  max_position_embeddings: 32768,
  max_window_layers: 28,
  mm_hidden_size: 1152,
  mm_patch_merge_type: "flat",
  mm_projector_lr: null,
  mm_projector_type: "simple_mlp_twoview",
  mm_resampler_type: null,
  mm_tunable_parts: "mm_vision_resampler,mm_mlp_adapter,mm_language_model",
  mm_use_im_patch_token: false,
  mm_use_im_start_end: false,
  mm_vision_select_feature: "patch",
  mm_vision_select_layer: -1,
  mm_vision_tower: "oryx_vit:/home/author/models/oryx_vit.pth",
  mm_vision_tower_lr: null,
  model_type: "oryx_qwen",
  num_attention_heads: 28,
  num_hidden_layers: 28,
  num_key_value_heads: 4,
  pos_skipping_range: 4096,
  rms_norm_eps: 1e-6,
  rope_scaling: null,
  rope_theta: 1000000.0,
  sliding_window: 131072,
  tie_word_embeddings: false,
  tokenizer_model_max_length: 16384,
  tokenizer_padding_side: "right",
  torch_dtype: "bfloat16",
  transformers_version: "4.39.2",
  use_cache: true,
  use_mm_proj: true,
  use_pos_skipping: false,
  use_sliding_window: false,
  vision_tower_pretrained: null,
  vocab_size: 152064,
};

/** Yi-1.5-34B's shape, as a Llama. */
const PUBLISHED_34B = {
  ...PUBLISHED_7B,
  model_type: "oryx_llama",
  architectures: ["OryxLlamaForCausalLM"],
  attention_bias: false,
  mlp_bias: false,
  pretraining_tp: 1,
  hidden_size: 7168,
  intermediate_size: 20480,
  num_attention_heads: 56,
  num_hidden_layers: 60,
  num_key_value_heads: 8,
  rope_theta: 5000000.0,
  vocab_size: 64000,
};

const without = (...keys: string[]) =>
  Object.fromEntries(Object.entries(PUBLISHED_7B).filter(([key]) => !keys.includes(key)));

function errorOf(json: unknown, parse: (json: unknown) => unknown = parseConfig): OryxError {
  try {
    parse(json);
  } catch (error) {
    expect(error).toBeInstanceOf(OryxError);
    expect((error as OryxError).code).toBe("config_invalid");
    return error as OryxError;
  }
  throw new Error("it was accepted");
}

describe("parseConfig accepts", () => {
  it("a 7B config as published", () => {
    expect(parseConfig(PUBLISHED_7B)).toEqual({
      family: "qwen",
      randomWeights: false,
      language: {
        hiddenSize: 3584,
        intermediateSize: 18944,
        layers: 28,
        heads: 28,
        kvHeads: 4,
        headDim: 128,
        rmsNormEps: 1e-6,
        ropeTheta: 1e6,
        vocabSize: 152064,
        maxPositions: 32768,
        tiedEmbeddings: false,
        qkvBias: true,
      },
      vision: {
        hiddenSize: 1152,
        heads: 16,
        towerPath: "/home/author/models/oryx_vit.pth",
        views: PUBLISHED_VIEWS,
      },
      eosTokenIds: [151645],
    });
  });

  it("a 34B config as published", () => {
    const { family, language } = parseConfig(PUBLISHED_34B);
    expect(family).toBe("llama");
    expect(language).toMatchObject({ heads: 56, kvHeads: 8, headDim: 128, qkvBias: false, ropeTheta: 5e6 });
  });

  it("both fixtures", () => {
    const qwen = parseConfig(fixture("oryx-qwen-tiny/config.json"));
    expect(qwen.language).toMatchObject({ hiddenSize: 96, heads: 6, kvHeads: 2, headDim: 16, qkvBias: true });
    expect(qwen.vision).toEqual({
      hiddenSize: 64,
      heads: 4,
      towerPath: "oryx_vit.pth",
      views: PUBLISHED_VIEWS,
    });
    const llama = parseConfig(fixture("oryx-llama-tiny/config.json"));
    expect(llama).toMatchObject({
      family: "llama",
      language: { qkvBias: false, vocabSize: 561 },
      eosTokenIds: [555],
    });
  });

  it("what the architecture leaves open: kv heads, head size, tying, several stop ids, a default rope", () => {
    expect(parseConfig(without("num_key_value_heads")).language.kvHeads).toBe(28);
    expect(parseConfig({ ...PUBLISHED_7B, head_dim: 64 }).language.headDim).toBe(64);
    expect(parseConfig({ ...PUBLISHED_7B, tie_word_embeddings: true }).language.tiedEmbeddings).toBe(true);
    expect(parseConfig({ ...PUBLISHED_7B, eos_token_id: [1, 2] }).eosTokenIds).toEqual([1, 2]);
    expect(parseConfig(without("eos_token_id", "mm_vision_tower")).vision.towerPath).toBeNull();
    parseConfig({ ...PUBLISHED_7B, rope_scaling: { type: "default" } });
  });

  it("a sliding window that leaves nothing out", () => {
    parseConfig({ ...PUBLISHED_7B, use_sliding_window: true, max_window_layers: 28, sliding_window: 4096 });
    parseConfig({ ...PUBLISHED_7B, use_sliding_window: true, max_window_layers: 0, sliding_window: 32768 });
  });

  it("unknown keys that cannot change the maths", () => {
    parseConfig({ ...PUBLISHED_7B, id2label: { 0: "a" }, some_note: "x", rope_new_thing: null });
  });

  it("and freezes what it returns", () => {
    const config = parseConfig(PUBLISHED_7B);
    for (const part of [config, config.language, config.vision, config.eosTokenIds]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });
});

describe("parseConfig refuses, naming the key,", () => {
  it.each([
    ["model_type", "llava_qwen"],
    ["hidden_size", 0],
    ["hidden_size", "3584"],
    ["hidden_size", 3584.5],
    ["hidden_size", 1e12],
    ["hidden_size", 3580], // heads of 127.86
    ["hidden_size", 28], // heads of 1
    ["head_dim", 127],
    ["head_dim", 262144],
    ["num_hidden_layers", 1e9],
    ["num_attention_heads", -28],
    ["num_key_value_heads", 5],
    ["hidden_act", "gelu"],
    ["rms_norm_eps", 0],
    ["rms_norm_eps", Number.NaN],
    ["rope_theta", null],
    ["rope_scaling", { type: "linear", factor: 2 }],
    ["rope_scaling", { rope_type: "yarn", factor: 4 }],
    ["rope_scaling", { type: "default", factor: 4 }],
    ["partial_rotary_factor", 0.5],
    ["attention_bias", false],
    ["mlp_bias", true],
    ["layer_types", ["sliding_attention"]],
    ["vocab_size", 0],
    ["max_position_embeddings", 1e10],
    ["tie_word_embeddings", "no"],
    ["eos_token_id", -1],
    ["mm_hidden_size", 1150],
    ["mm_projector_type", "mlp2x_gelu"],
    ["mm_resampler_type", "perceiver"],
    ["mm_vision_tower", 7],
    ["mm_vision_num_heads", 0],
    ["mm_use_im_start_end", true],
    ["rope_thetta", 10000],
    ["qk_norm", true],
    ["attention_multiplier", 0.5],
    ["mm_new_pooling", "2x2"],
    ["sliding_window_pattern", 6],
    ["num_experts", 8],
    ["quantization_config", { bits: 4 }],
    ["final_logit_softcapping", 30],
  ])("%s = %j", (key, value) => {
    const { message } = errorOf({ ...PUBLISHED_7B, [key]: value });
    const named = { num_key_value_heads: "key-value heads", head_dim: "head", layer_types: "layer_types" }[
      key
    ];
    expect(message).toContain(named ?? key);
  });

  it.each([
    "hidden_size",
    "num_attention_heads",
    "rope_theta",
    "rms_norm_eps",
    "vocab_size",
    "mm_projector_type",
  ])("the absence of %s", (key) => {
    expect(errorOf(without(key)).message).toContain(key);
  });

  it("a sliding window in use", () => {
    const json = { ...PUBLISHED_7B, use_sliding_window: true, max_window_layers: 21, sliding_window: 4096 };
    expect(errorOf(json).message).toContain("use_sliding_window");
  });

  it("biases in a Llama", () => {
    expect(errorOf({ ...PUBLISHED_34B, attention_bias: true }).message).toContain("attention_bias");
  });

  it.each([null, 1, "x", [], {}])("anything else: %j", (json) => {
    errorOf(json);
  });

  it("with no other error than its own, whatever one key holds", () => {
    const keys = fc.constantFrom(...Object.keys(PUBLISHED_7B), "__proto__", "constructor", "toString");
    fc.assert(
      fc.property(keys, fc.jsonValue(), (key, value) => {
        const json = JSON.parse(JSON.stringify(PUBLISHED_7B));
        Object.defineProperty(json, key, { value, enumerable: true });
        try {
          parseConfig(json);
        } catch (error) {
          expect(error).toBeInstanceOf(OryxError);
        }
      }),
    );
  });
});

describe("parseGenerationConfig", () => {
  it("reads the fixture's sampling defaults", () => {
    expect(parseGenerationConfig(fixture("oryx-qwen-tiny/generation_config.json"))).toEqual({
      eosTokenIds: [458, 456],
      doSample: true,
      temperature: 0.7,
      topP: 0.8,
      topK: 20,
      repetitionPenalty: 1.05,
    });
  });

  it("says which tokens end an answer before the model's config does, unless it names none", () => {
    const model = { eosTokenIds: [1] };
    const ends = (json: object) => endIds(model, parseGenerationConfig(json));
    expect(ends({ eos_token_id: [2, 3] })).toEqual([2, 3]);
    expect(ends({ temperature: 1 })).toEqual([1]);
    expect(endIds(model, undefined)).toEqual([1]);
  });

  it("takes one stop id for a list, and leaves open what is not there", () => {
    expect(parseGenerationConfig({ eos_token_id: 5, transformers_version: "4.39.2" })).toEqual({
      eosTokenIds: [5],
    });
  });

  it.each([
    ["temperature", -1],
    ["top_p", 0],
    ["top_p", 1.5],
    ["top_k", 2.5],
    ["repetition_penalty", 0],
    ["do_sample", "yes"],
    ["eos_token_id", ["a"]],
  ])("refuses %s = %j", (key, value) => {
    expect(errorOf({ [key]: value }, parseGenerationConfig).message).toContain(key);
  });
});
