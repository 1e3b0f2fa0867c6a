import { join } from "node:path";
import { LIMITS } from "../core/limits.ts";
import { type LoadedModel, loadModel } from "../engine/load.ts";
import { createNodeRuntime, type NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import { createTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { isFile, readJsonObject } from "../weights/files.ts";

export interface OpenOptions extends NodeRuntimeOptions {
  /** Where the vision tower is, when it is not in the model folder. */
  visionTower?: string | undefined;
}

/** A model folder, opened and loaded: what it says, and the sessions that compute it. */
export interface OpenModel extends LoadedModel {
  checkpoint: Checkpoint;
  tokenizer: Tokenizer;
  /** Releases the sessions; runs in flight end first. */
  close: () => Promise<void>;
}

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
  const { visionTower, ...runtimeOptions } = options;
  const checkpoint = await openCheckpoint(dir, visionTower === undefined ? {} : { visionTower });
  const tokenizer = await openTokenizer(dir);
  const runtime = await createNodeRuntime(runtimeOptions);
  try {
    const loaded = await loadModel(runtime, {
      config: checkpoint.config.language,
      visionShape: checkpoint.visionShape,
      language: checkpoint.language,
      vision: checkpoint.vision,
    });
    return { ...loaded, checkpoint, tokenizer, close: () => runtime.close() };
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
