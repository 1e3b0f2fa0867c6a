import { freemem } from "node:os";
import { join } from "node:path";
import { LIMITS } from "../core/limits.ts";
import { type LoadedModel, loadModel, storesBoth } from "../engine/load.ts";
import type { KvType } from "../model/oryx.ts";
import { createNodeRuntime, type NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import { createTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { isFile, readJsonObject } from "../weights/files.ts";

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
  /** Releases the sessions; runs in flight end first. */
  close: () => Promise<void>;
}

/** Share of the memory that is free which weights may take; the rest is for the cache and for what is computed. */
const MEMORY_SHARE = 0.7;

/** A value of tokenizer.json is a token, an id or part of a merge: three for each of the most that it may have. */
const TOKENIZER_JSON = {
  maxValues: 2 * LIMITS.vocabSize + 3 * LIMITS.vocabMerges,
  maxTextBytes: LIMITS.tokenizerBytes,
};

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
    const loaded = await loadModel(runtime, source, { kv, both });
    return { ...loaded, checkpoint, tokenizer, kv, both, close: () => runtime.close() };
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

/** The tokenizer of a model folder. */
export async function openTokenizer(dir: string): Promise<Tokenizer> {
  const read = (name: string) =>
    readJsonObject(join(dir, name), LIMITS.tokenizerBytes, "tokenizer_invalid", TOKENIZER_JSON);
  const configName = "tokenizer_config.json";
  const config = (await isFile(join(dir, configName))) ? await read(configName) : {};
  return createTokenizer(await read("tokenizer.json"), config);
}
