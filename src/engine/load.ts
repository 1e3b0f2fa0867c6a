import type { StoredTensor } from "../core/tensor.ts";
import { type Tensor, weight } from "../graph/tensor.ts";
import type { LanguageConfig } from "../model/config.ts";
import type { Pace } from "../model/language.ts";
import { type KvType, languageGraph, visionGraph } from "../model/oryx.ts";
import type { VisionShape } from "../model/vit.ts";
import { type IntegerStorage, type Matrix, PARTS, Params } from "../nn/params.ts";
import { emitOnnx } from "../onnx/emit.ts";
import type { Runtime } from "../runtime/session.ts";
import { Decoder } from "./decoder.ts";
import { VisionEncoder } from "./encoder.ts";

/** What a model is made from: its shapes, and its tensors by the checkpoint's names. */
export interface ModelSource {
  config: LanguageConfig;
  visionShape: VisionShape;
  language: ReadonlyMap<string, StoredTensor>;
  vision: ReadonlyMap<string, StoredTensor>;
}

/** The two sessions that answer a request, each behind what drives it. */
export interface LoadedModel {
  decoder: Decoder;
  encoder: VisionEncoder;
}

/**
 * Parameters of a checkpoint, as it stores them: `X` dense, or `X.int4` or `X.int8` with their scales.
 * @param prefer which to take where a matrix is stored in both
 */
export function storedParams(
  tensors: ReadonlyMap<string, StoredTensor>,
  prefer: IntegerStorage = "int4",
): Params {
  const stored = (name: string): Tensor | undefined => {
    const found = tensors.get(name);
    return found && weight(name, found);
  };
  const integer = (name: string, storage: IntegerStorage): Matrix | undefined => {
    const values = stored(name + PARTS[storage].values);
    const scales = stored(name + PARTS[storage].scales);
    if (values === undefined || scales === undefined) return undefined;
    return storage === "int4" ? { storage, packed: values, scales } : { storage, values, scales };
  };
  return new Params((name, use) => {
    const dense = stored(name);
    if (dense !== undefined) return { storage: "dense", values: dense };
    const first = use === "rows" ? "int4" : prefer;
    return integer(name, first) ?? integer(name, first === "int4" ? "int8" : "int4");
  });
}

/** Whether some matrices are stored both ways, so that prefill and decode can each have their own. */
export function storesBoth(tensors: ReadonlyMap<string, StoredTensor>): boolean {
  const { int4, int8 } = PARTS;
  return [...tensors.keys()].some(
    (name) => name.endsWith(int8.values) && tensors.has(name.slice(0, -int8.values.length) + int4.values),
  );
}

export interface DecoderOptions {
  /** Type of the cache; default "f32". */
  kv?: KvType | undefined;
  /** Load matrices that are stored both ways twice, for speed; else their int4 form alone. Default true. */
  both?: boolean | undefined;
}

/**
 * Describes the language model, emits it and loads it. A checkpoint that stores its matrices both ways is loaded
 * twice: prefill is bound by arithmetic and takes int8, decode is bound by bytes and takes int4.
 */
export async function loadDecoder(
  runtime: Runtime,
  source: Pick<ModelSource, "config" | "language">,
  { kv = "f32", both = true }: DecoderOptions = {},
): Promise<Decoder> {
  const load = (prefer: IntegerStorage, pace: Pace) =>
    runtime.load(emitOnnx(languageGraph(storedParams(source.language, prefer), source.config, kv, pace)));
  const decode = await load("int4", "steps");
  if (!both || !storesBoth(source.language)) return new Decoder({ prefill: decode, decode }, source.config);
  try {
    return new Decoder({ prefill: await load("int8", "prompts"), decode }, source.config);
  } catch (error) {
    await decode.close();
    throw error;
  }
}

/** Describes the vision tower, compressor and projector, emits and loads them. */
export async function loadEncoder(runtime: Runtime, source: ModelSource): Promise<VisionEncoder> {
  const connector = storedParams(source.language).at("model");
  const graph = visionGraph(storedParams(source.vision), connector, source.visionShape);
  return new VisionEncoder(await runtime.load(emitOnnx(graph)), source.config.hiddenSize);
}

/** Loads both; when one fails, the other is released. */
export async function loadModel(
  runtime: Runtime,
  source: ModelSource,
  options: DecoderOptions = {},
): Promise<LoadedModel> {
  const decoder = await loadDecoder(runtime, source, options);
  try {
    return { decoder, encoder: await loadEncoder(runtime, source) };
  } catch (error) {
    await decoder.close();
    throw error;
  }
}
