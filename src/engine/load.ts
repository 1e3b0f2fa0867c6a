import type { StoredTensor } from "../core/tensor.ts";
import { weight } from "../graph/tensor.ts";
import type { LanguageConfig } from "../model/config.ts";
import { languageGraph, visionGraph } from "../model/oryx.ts";
import type { VisionShape } from "../model/vit.ts";
import { type Matrix, Params } from "../nn/params.ts";
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

/** Parameters of a checkpoint, in the types in which it stores them. */
export function storedParams(tensors: ReadonlyMap<string, StoredTensor>): Params {
  return new Params((name): Matrix | undefined => {
    const stored = tensors.get(name);
    return stored && { storage: "dense", values: weight(name, stored) };
  });
}

/** Describes the language model, emits it and loads it. */
export async function loadDecoder(
  runtime: Runtime,
  source: Pick<ModelSource, "config" | "language">,
): Promise<Decoder> {
  const graph = languageGraph(storedParams(source.language), source.config);
  return new Decoder(await runtime.load(emitOnnx(graph)), source.config);
}

/** Describes the vision tower, compressor and projector, emits and loads them. */
export async function loadEncoder(runtime: Runtime, source: ModelSource): Promise<VisionEncoder> {
  const connector = storedParams(source.language).at("model");
  const graph = visionGraph(storedParams(source.vision), connector, source.visionShape);
  return new VisionEncoder(await runtime.load(emitOnnx(graph)), source.config.hiddenSize);
}

/** Loads both; when one fails, the other is released. */
export async function loadModel(runtime: Runtime, source: ModelSource): Promise<LoadedModel> {
  const decoder = await loadDecoder(runtime, source);
  try {
    return { decoder, encoder: await loadEncoder(runtime, source) };
  } catch (error) {
    await decoder.close();
    throw error;
  }
}
