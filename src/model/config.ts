import { z } from "zod";
import { OryxError, quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { refuseUnknownKeys } from "./config-keys.ts";
import { PUBLISHED_VIEWS, type ViewLimits } from "./views.ts";
import { PATCH } from "./vit.ts";

/** What a model folder's `config.json` says about the maths, checked and frozen. */
export interface OryxConfig {
  /** Whose language model it is: Qwen2 (with q/k/v biases) or Llama (without any). */
  readonly family: "qwen" | "llama";
  readonly language: LanguageConfig;
  readonly vision: VisionConfig;
  /** Whether the weights were never trained: a model for trying the system out, whose answers mean nothing. */
  readonly randomWeights: boolean;
  /** Ids that end a turn, for folders without a generation config; empty when the config names none. */
  readonly eosTokenIds: readonly number[];
}

export interface LanguageConfig {
  readonly hiddenSize: number;
  /** Width of the SwiGLU MLP. */
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Heads of keys and values; each serves `heads / kvHeads` query heads. */
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** Rows of the embedding, which may exceed the tokenizer's size. */
  readonly vocabSize: number;
  /** Tokens that the model was trained to attend over. */
  readonly maxPositions: number;
  /** The output layer is the embedding, so the weights have no `lm_head`. */
  readonly tiedEmbeddings: boolean;
  readonly qkvBias: boolean;
}

/** What the config knows of the vision tower; blocks, MLP width and grid are read from its tensors. */
export interface VisionConfig {
  readonly hiddenSize: number;
  readonly heads: number;
  /** How large pictures are encoded. */
  readonly views: ViewLimits;
  /** Where its author kept the tower, without the `oryx_vit:` before it; null when the config does not say. */
  readonly towerPath: string | null;
}

/** Defaults for sampling, from `generation_config.json`; a field that the file does not have is undefined. */
export interface GenerationConfig {
  readonly eosTokenIds: readonly number[];
  readonly doSample: boolean | undefined;
  readonly temperature: number | undefined;
  readonly topP: number | undefined;
  /** 0 means no limit. */
  readonly topK: number | undefined;
  readonly repetitionPenalty: number | undefined;
}

/** Tokens that end an answer: what the folder says of generation counts before what it says of the model. */
export function endIds(
  { eosTokenIds }: Pick<OryxConfig, "eosTokenIds">,
  generation: GenerationConfig | undefined,
): readonly number[] {
  return generation?.eosTokenIds.length ? generation.eosTokenIds : eosTokenIds;
}

const count = (max: number) => z.int().positive().max(max);
const width = count(LIMITS.modelWidth);
const tokenId = z
  .int()
  .nonnegative()
  .max(LIMITS.vocabSize - 1);
const tokenIds = z
  .union([tokenId.transform((id) => [id]), z.array(tokenId).max(64), z.null().transform(() => [])])
  .default([]);

const area = z.int().positive().max(LIMITS.imagePixels);
const stride = z.int().positive().multipleOf(PATCH).max(4096);
const frames = z
  .strictObject({ least: area, most: area, stride })
  .refine(({ least, most }) => least <= most, "least is more than most");
const views = z.strictObject({
  image: z.strictObject({ most: area, overview: area, stride }),
  video: frames,
  video_long: frames,
});

/** Scaled rotary positions are other maths; the spelled-out default is none. */
const ropeScaling = z
  .strictObject({ type: z.literal("default").optional(), rope_type: z.literal("default").optional() })
  .nullish();

/** Every key that is honoured, or refused unless it has the one value that is implemented. */
const CONFIG = z.object({
  model_type: z.enum(["oryx_qwen", "oryx_llama"]),
  hidden_size: width,
  intermediate_size: width,
  num_hidden_layers: count(LIMITS.modelLayers),
  num_attention_heads: width,
  num_key_value_heads: width.nullish(),
  head_dim: width.nullish(),
  hidden_act: z.literal("silu").default("silu"),
  rms_norm_eps: z.number().positive().max(1),
  rope_theta: z.number().min(1).max(1e12),
  rope_scaling: ropeScaling,
  partial_rotary_factor: z.literal(1).nullish(),
  vocab_size: count(LIMITS.vocabSize),
  max_position_embeddings: count(LIMITS.maxPositions),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.literal(false).nullish(),
  use_sliding_window: z.boolean().nullish(),
  sliding_window: z.int().nullish(),
  max_window_layers: z.int().nullish(),
  layer_types: z.array(z.literal("full_attention")).nullish(),
  eos_token_id: tokenIds,
  mm_hidden_size: width,
  mm_projector_type: z.literal("simple_mlp_twoview"),
  mm_resampler_type: z.literal("dynamic_compressor").nullish(),
  mm_vision_tower: z.string().max(4096).nullish(),
  mm_vision_num_heads: width.default(16),
  mm_use_im_start_end: z.literal(false).nullish(),
  mm_use_im_patch_token: z.literal(false).nullish(),
  mm_views: views.default(PUBLISHED_VIEWS),
  random_weights: z.boolean().default(false),
});

type RawConfig = z.infer<typeof CONFIG>;

const GENERATION = z.object({
  eos_token_id: tokenIds,
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().max(100).nullish(),
  top_p: z.number().positive().max(1).nullish(),
  top_k: z.int().nonnegative().nullish(),
  repetition_penalty: z.number().positive().max(100).nullish(),
});

/**
 * Parses `config.json`. What would change the maths in a way that is not implemented is refused by name, unknown
 * keys that sound like it too (see {@link refuseUnknownKeys}); the rest is ignored.
 * @throws OryxError `config_invalid`
 */
export function parseConfig(json: unknown): OryxConfig {
  const raw = parse(CONFIG, json, "config.json");
  refuseUnknownKeys(Object.keys(CONFIG.shape), json as Readonly<Record<string, unknown>>);
  refuseSlidingWindow(raw);
  const family = raw.model_type === "oryx_qwen" ? "qwen" : "llama";
  if (typeof raw.attention_bias === "boolean" && raw.attention_bias !== (family === "qwen")) {
    throw invalid(`config.json: attention_bias ${raw.attention_bias} does not go with ${raw.model_type}`);
  }
  return Object.freeze({
    family,
    randomWeights: raw.random_weights,
    language: Object.freeze(languageConfig(raw)),
    vision: Object.freeze(visionConfig(raw)),
    eosTokenIds: Object.freeze(raw.eos_token_id),
  });
}

/** Parses `generation_config.json`; keys that name no setting of ours are ignored. @throws OryxError `config_invalid` */
export function parseGenerationConfig(json: unknown): GenerationConfig {
  const raw = parse(GENERATION, json, "generation_config.json");
  return Object.freeze({
    eosTokenIds: Object.freeze(raw.eos_token_id),
    doSample: raw.do_sample ?? undefined,
    temperature: raw.temperature ?? undefined,
    topP: raw.top_p ?? undefined,
    topK: raw.top_k ?? undefined,
    repetitionPenalty: raw.repetition_penalty ?? undefined,
  });
}

function languageConfig(raw: RawConfig): LanguageConfig {
  const { hidden_size: hiddenSize, num_attention_heads: heads } = raw;
  const kvHeads = raw.num_key_value_heads ?? heads;
  if (heads % kvHeads !== 0)
    throw invalid(`config.json: ${heads} heads cannot share ${kvHeads} key-value heads`);
  const headDim = raw.head_dim ?? hiddenSize / heads;
  // Rotary positions turn halves of a head against each other.
  if (!Number.isInteger(headDim) || headDim % 2 !== 0 || headDim * heads > LIMITS.modelWidth) {
    throw invalid(`config.json: hidden_size ${hiddenSize} and ${heads} heads give heads of size ${headDim}`);
  }
  if (raw.layer_types && raw.layer_types.length !== raw.num_hidden_layers) {
    throw invalid(
      `config.json: layer_types names ${raw.layer_types.length} of ${raw.num_hidden_layers} layers`,
    );
  }
  return {
    hiddenSize,
    intermediateSize: raw.intermediate_size,
    layers: raw.num_hidden_layers,
    heads,
    kvHeads,
    headDim,
    rmsNormEps: raw.rms_norm_eps,
    ropeTheta: raw.rope_theta,
    vocabSize: raw.vocab_size,
    maxPositions: raw.max_position_embeddings,
    tiedEmbeddings: raw.tie_word_embeddings,
    qkvBias: raw.model_type === "oryx_qwen",
  };
}

function visionConfig(raw: RawConfig): VisionConfig {
  const { mm_hidden_size: hiddenSize, mm_vision_num_heads: heads } = raw;
  if (hiddenSize % heads !== 0) {
    throw invalid(`config.json: mm_hidden_size ${hiddenSize} does not divide into ${heads} heads`);
  }
  const towerPath = raw.mm_vision_tower?.replace(/^oryx_vit:/, "") || null;
  return { hiddenSize, heads, towerPath, views: raw.mm_views };
}

/** Qwen2 lets layers from `max_window_layers` on attend over a window; harmless when no layer or token is left out. */
function refuseSlidingWindow(raw: RawConfig): void {
  if (!raw.use_sliding_window) return;
  const noLayer = (raw.max_window_layers ?? 0) >= raw.num_hidden_layers;
  const { sliding_window: window } = raw;
  const noToken = window === null || (window !== undefined && window >= raw.max_position_embeddings);
  if (!noLayer && !noToken) throw invalid("config.json: use_sliding_window is on, which is not implemented");
}

function parse<S extends z.ZodType>(schema: S, json: unknown, file: string): z.infer<S> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const shown = result.error.issues.slice(0, 5).map(({ path, message }) => {
    return path.length > 0 ? `${quote(path.join("."))}: ${message}` : message;
  });
  throw invalid(`${file}: ${shown.join("; ")}`, result.error);
}

function invalid(problem: string, cause?: unknown): OryxError {
  return new OryxError("config_invalid", problem, "use a published Oryx model, or mend the file", { cause });
}
