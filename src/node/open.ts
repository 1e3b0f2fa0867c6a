import { freemem } from "node:os";
import { type LoadedModel, type LoadedPart, loadModel, storesBoth } from "../engine/load.ts";
import type { KvType } from "../model/oryx.ts";
import { createNodeRuntime, type NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import type { RuntimeModel } from "../runtime/session.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { openTokenizer } from "../weights/tokenizer.ts";
import { identities, type ModelGraphs } from "./caching.ts";

export interface OpenOptions extends NodeRuntimeOptions {
  /** Type in which keys and values are cached; default "f32". */
  kv?: KvType | undefined;
  /** Where the vision tower is, when it is not in the model folder. */
  visionTower?: string | undefined;
}

/** A model folder, opened and loaded: what it says, and the sessions that compute it. */
export interface OpenModel extends LoadedModel {
  checkpoint: Checkpoint;
  tokenizer: Tokenizer;
  /** Type in which keys and values are cached. */
  kv: KvType;
  /** Whether prefill and decode have weights of their own, because the folder has both and there is memory for both. */
  both: boolean;
  /** What was loaded, for caches to tell it from other models. */
  graphs: ModelGraphs;
  /** Releases the sessions; runs in flight end first. */
  close: () => Promise<void>;
}

/** Share of the memory that is free which weights may take; the rest is for the cache and for what is computed. */
const MEMORY_SHARE = 0.7;

/**
 * Opens a model folder and loads it.
 * @throws OryxError `model_missing`, `config_invalid`, `weights_*`, `tokenizer_invalid`, `runtime_*`, `device_unavailable`
 */
export async function openModel(dir: string, options: OpenOptions = {}): Promise<OpenModel> {
  const { visionTower, kv = "f32", ...runtimeOptions } = options;
  const checkpoint = await openCheckpoint(dir, visionTower === undefined ? {} : { visionTower });
  const tokenizer = await openTokenizer(dir);
  const runtime = await createNodeRuntime(runtimeOptions);
  try {
    // Integer products other than int4 have no WebGPU kernel.
    const fast = runtime.device === "cpu" && checkpoint.bytes < MEMORY_SHARE * freemem();
    const both = fast && storesBoth(checkpoint.language);
    const { config, visionShape, language, vision } = checkpoint;
    const source = { config: config.language, visionShape, language, vision };
    const files = await identities(checkpoint.files);
    const models: Record<LoadedPart, RuntimeModel[]> = { language: [], vision: [] };
    const onLoad = (part: LoadedPart, model: RuntimeModel) => models[part].push(model);
    const loaded = await loadModel(runtime, source, { kv, both, onLoad });
    const { libraryPath } = runtimeOptions;
    const graphs = { ...models, device: runtime.device, libraryPath, files };
    return { ...loaded, graphs, checkpoint, tokenizer, kv, both, close: () => runtime.close() };
  } catch (error) {
    await runtime.close();
    throw error;
  }
}
