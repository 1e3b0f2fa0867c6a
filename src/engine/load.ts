import type { StoredTensor } from "../core/tensor.ts";
import { type Graph, type Tensor, weight } from "../graph/tensor.ts";
import type { LanguageConfig } from "../model/config.ts";
import { type KvType, languageGraph, languageGraphInPlace, visionGraph } from "../model/oryx.ts";
import type { VisionShape } from "../model/vit.ts";
import { type IntegerStorage, JOINED, type Matrix, PARTS, Params } from "../nn/params.ts";
import { emitOnnx } from "../onnx/emit.ts";
import type { Runtime, RuntimeModel } from "../runtime/session.ts";
import { Decoder, type LanguageSession } from "./decoder.ts";
import { VisionEncoder } from "./encoder.ts";
import { HostKvMemory, type KvForm } from "./kv.ts";
import { DeviceKvMemory } from "./kv-device.ts";

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
 * Parameters of a checkpoint, as it stores them: `X` dense, or `X.int4` or `X.int8` with their scales; and as one matrix
 * those of {@link JOINED} whose dense rows, or int4 rows and scales, lie one behind the other in a file: a conversion
 * lays them so, and some published files have them so. The int8 form, which is transposed, has no rows that could.
 * @param prefer which to take where a matrix is stored in both
 */
export function storedParams(
  tensors: ReadonlyMap<string, StoredTensor>,
  prefer: IntegerStorage = "int4",
): Params {
  const stored = (name: string): Tensor | undefined => {
    const found = tensors.get(name) ?? joinedRows(partNames(name).map((part) => tensors.get(part)));
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
    if (partNames(name).length > 0) return first === "int4" ? integer(name, "int4") : undefined;
    return integer(name, first) ?? integer(name, first === "int4" ? "int8" : "int4");
  });
}

/** "…self_attn.qkv_proj.weight.int4" -> those of its three parts; none for the name of a single tensor. */
function partNames(name: string): string[] {
  const [, before = "", joined = "", after = ""] = /^(.*\.)([a-z_]+_proj)(\.weight.*)$/.exec(name) ?? [];
  return (JOINED[joined] ?? []).map((part) => before + part + after);
}

/** Tensors as one, when the bytes of each begin where those of the one before end. */
function joinedRows(parts: readonly (StoredTensor | undefined)[]): StoredTensor | undefined {
  const [first, ...others] = parts;
  if (first === undefined || first.bytes instanceof Uint8Array) return undefined;
  const { path, offset } = first.bytes;
  let { byteLength } = first.bytes;
  let [rows = 0, ...row] = first.shape;
  for (const other of others) {
    if (other === undefined || other.bytes instanceof Uint8Array) return undefined;
    const [more = 0, ...its] = other.shape;
    const isNext = other.bytes.path === path && other.bytes.offset === offset + byteLength;
    if (!isNext || other.dtype !== first.dtype || `${its}` !== `${row}`) return undefined;
    byteLength += other.bytes.byteLength;
    rows += more;
  }
  return { dtype: first.dtype, shape: [rows, ...row], bytes: { path, offset, byteLength } };
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
  /** Told of each graph before it is loaded, with its weights. */
  onLoad?: ((part: LoadedPart, model: RuntimeModel) => void) | undefined;
}

/** The two halves of a model, each with graphs of its own. */
export type LoadedPart = "language" | "vision";

/** Heads whose width is no multiple of this are unknown to the kernels that extend a cache in place. */
const IN_PLACE_HEAD_UNIT = 16;

/** Whether a cache of such keys and values can be extended in place. */
const growsInPlace = ({ headDim }: LanguageConfig, kv: KvType) =>
  kv === "f32" && headDim % IN_PLACE_HEAD_UNIT === 0;

/**
 * Describes the language model, emits it and loads it. Where the runtime's device keeps a cache in its own memory, it
 * is left there, if it is one of f32. A checkpoint that stores its matrices both ways is loaded twice elsewhere:
 * prefill is bound by arithmetic and takes int8, decode is bound by bytes and takes int4.
 */
export async function loadDecoder(
  runtime: Runtime,
  source: Pick<ModelSource, "config" | "language">,
  options: DecoderOptions = {},
): Promise<Decoder> {
  const { kv = "f32" } = options;
  const stepTokens = growsInPlace(source.config, kv) ? await runtime.residentTokens() : 0;
  return stepTokens > 0
    ? loadResidentDecoder(runtime, source, stepTokens, options)
    : loadHostDecoder(runtime, source, options);
}

async function loadResidentDecoder(
  runtime: Runtime,
  { config, language }: Pick<ModelSource, "config" | "language">,
  stepTokens: number,
  { onLoad }: DecoderOptions,
): Promise<Decoder> {
  const model = emitOnnx(languageGraphInPlace(storedParams(language), config));
  onLoad?.("language", model);
  const session = await runtime.load(model);
  try {
    const memory = await DeviceKvMemory.create(runtime, config, stepTokens);
    const whole = { session, form: "whole" } as const;
    return new Decoder({ prefill: whole, decode: whole }, config, memory);
  } catch (error) {
    await session.close();
    throw error;
  }
}

async function loadHostDecoder(
  runtime: Runtime,
  source: Pick<ModelSource, "config" | "language">,
  { kv = "f32", both = true, onLoad }: DecoderOptions,
): Promise<Decoder> {
  const { config, language } = source;
  const memory = new HostKvMemory(config, kv);
  const load = async (graph: Graph, form: KvForm): Promise<LanguageSession> => {
    const model = emitOnnx(graph);
    onLoad?.("language", model);
    return { session: await runtime.load(model), form };
  };
  const decode = await load(languageGraph(storedParams(language, "int4"), config, kv, "steps"), "rows");
  if (!both || !storesBoth(language)) return new Decoder({ prefill: decode, decode }, config, memory);
  const int8 = storedParams(language, "int8");
  try {
    const prefill = growsInPlace(config, kv)
      ? await load(languageGraphInPlace(int8, config), "whole")
      : await load(languageGraph(int8, config, kv, "prompts"), "rows");
    return new Decoder({ prefill, decode }, config, memory);
  } catch (error) {
    await decode.session.close();
    throw error;
  }
}

/** Describes the vision tower, compressor and projector, emits and loads them. */
export async function loadEncoder(
  runtime: Runtime,
  source: ModelSource,
  { onLoad }: Pick<DecoderOptions, "onLoad"> = {},
): Promise<VisionEncoder> {
  const connector = storedParams(source.language).at("model");
  const graph = visionGraph(storedParams(source.vision), connector, source.visionShape);
  const model = emitOnnx(graph);
  onLoad?.("vision", model);
  return new VisionEncoder(await runtime.load(model), source.config.hiddenSize);
}

/** Loads both; when one fails, the other is released. */
export async function loadModel(
  runtime: Runtime,
  source: ModelSource,
  options: DecoderOptions = {},
): Promise<LoadedModel> {
  const decoder = await loadDecoder(runtime, source, options);
  try {
    return { decoder, encoder: await loadEncoder(runtime, source, options) };
  } catch (error) {
    await decoder.close();
    throw error;
  }
}
