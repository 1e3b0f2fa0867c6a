import { stat } from "node:fs/promises";
import { join } from "node:path";
import { OryxError, quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { StoredTensor } from "../core/tensor.ts";
import {
  type GenerationConfig,
  type OryxConfig,
  parseConfig,
  parseGenerationConfig,
} from "../model/config.ts";
import type { VisionShape } from "../model/vit.ts";
import { isConverted, type Manifest, readConverted } from "./converted.ts";
import { expectedLanguageTensors, expectTensors } from "./expected.ts";
import { malformed } from "./faults.ts";
import { isFile, readJsonObject } from "./files.ts";
import { EMBEDDING, HEAD } from "./forms.ts";
import { isObject, type JsonObject } from "./json.ts";
import { asMatrices, partsOf } from "./quantised.ts";
import { readSafetensors } from "./safetensors.ts";
import { storedBytes } from "./stored.ts";
import { checkTower, findTower, readTowerFile, splitTower } from "./tower.ts";

/** A model folder, read as far as its headers and checked: every tensor is there, in the right shape. */
export interface Checkpoint {
  readonly dir: string;
  readonly config: OryxConfig;
  /** Undefined when the folder has no `generation_config.json`. */
  readonly generation: GenerationConfig | undefined;
  /** Language model, compressor and projector, named as in the files. */
  readonly language: ReadonlyMap<string, StoredTensor>;
  /** The vision tower, named as in `oryx_vit.pth`. */
  readonly vision: ReadonlyMap<string, StoredTensor>;
  readonly visionShape: VisionShape;
  /** Rows of the compressor's projections, the dimension that its softmax is scaled by; 256 as published. */
  readonly compressorWidth: number;
  /** Bytes of all tensors above. */
  readonly bytes: number;
  /** Weight files that were read. */
  readonly files: readonly string[];
  /** What a converted folder says of itself; undefined for a folder as published. */
  readonly manifest: Manifest | undefined;
}

export interface CheckpointOptions {
  /** Where the vision tower is when it is not in the folder: its file, or a folder that has `oryx_vit.pth`. */
  visionTower?: string;
}

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const QUERY_PROJECTOR = "model.vision_resampler.vlm_query_projector.weight";
const SMALL_JSON = { maxValues: 100_000, maxTextBytes: LIMITS.configBytes };
const INDEX_JSON = { maxValues: 10 * LIMITS.tensorsPerFile, maxTextBytes: LIMITS.jsonTextBytes };
const INDEX_BYTES = LIMITS.jsonTextBytes;

/**
 * Opens a model folder as published: `config.json`, weights in one or several safetensors files, the vision tower
 * inside them or in a file of its own; or a folder that `convert` made, where `language` and `vision` hold the
 * parts of quantised matrices (see weights/quantised.ts). No tensor is loaded.
 * @throws OryxError `model_missing`, `config_invalid`, `weights_malformed`, `weights_unsupported`,
 *   `weights_missing`, `weights_mismatch`
 */
export async function openCheckpoint(dir: string, options: CheckpointOptions = {}): Promise<Checkpoint> {
  await checkFolder(dir);
  const config = parseConfig(await readConfig(join(dir, "config.json")));
  const generationPath = join(dir, "generation_config.json");
  const generation = (await isFile(generationPath))
    ? parseGenerationConfig(await readConfig(generationPath))
    : undefined;
  const { language, vision, files, manifest } = (await isConverted(dir))
    ? await readConverted(dir)
    : await readPublished(dir, options.visionTower, config);
  const matrices = manifest ? asMatrices(language, dir) : language;
  const towerMatrices = manifest ? asMatrices(vision, dir) : vision;
  const tower = checkTower(towerMatrices, config.vision.hiddenSize, config.vision.heads);
  const compressorWidth = matrices.get(QUERY_PROJECTOR)?.shape[0] || 256;
  const expected = expectedLanguageTensors(config, compressorWidth);
  // A tied output layer may have a copy of its own in the type that its product is fastest in.
  const table = expected.get(EMBEDDING);
  if (manifest && table && matrices.has(HEAD)) expected.set(HEAD, table);
  const needed = expectTensors(expected, matrices, "language model", (name) => isUnused(name, config));
  const found = { language: partsOf(needed, language), vision: partsOf(tower.tensors, vision) };
  const all = [...found.language.values(), ...found.vision.values()];
  const bytes = all.reduce((sum, tensor) => sum + storedBytes(tensor), 0);
  const checkpoint = { dir, config, generation, compressorWidth, bytes, files, manifest };
  return { ...checkpoint, ...found, visionShape: tower.shape };
}

/** The tensors of a folder as published; the tower's with short names. */
async function readPublished(dir: string, visionTower: string | undefined, config: OryxConfig) {
  const { tensors, files } = await readWeights(dir);
  const { tower: vision, rest: language } = splitTower(tensors);
  if (vision.size === 0) {
    const path = await findTower(dir, visionTower, config.vision.towerPath);
    for (const [name, tensor] of await readTowerFile(path)) vision.set(name, tensor);
    files.push(path);
  }
  return { language, vision, files, manifest: undefined };
}

/** A tied output layer may be stored all the same; old Llama files carry a table of rotary frequencies. */
function isUnused(name: string, config: OryxConfig): boolean {
  return (config.language.tiedEmbeddings && name === HEAD) || name.endsWith(".rotary_emb.inv_freq");
}

async function checkFolder(dir: string): Promise<void> {
  const folder = await stat(dir).catch(() => undefined);
  if (folder?.isDirectory()) return;
  throw new OryxError(
    "model_missing",
    `there is no model folder ${dir}`,
    "check the path, or download the model",
  );
}

function readConfig(path: string): Promise<JsonObject> {
  return readJsonObject(path, LIMITS.configBytes, "config_invalid", SMALL_JSON);
}

/** Every tensor of the folder's own weight files. */
async function readWeights(dir: string): Promise<{ tensors: Map<string, StoredTensor>; files: string[] }> {
  const single = join(dir, SINGLE);
  if (await isFile(single)) return { tensors: await readSafetensors(single), files: [single] };
  const index = join(dir, INDEX);
  if (await isFile(index)) return readShards(dir, index);
  throw new OryxError(
    "weights_missing",
    `${dir} has neither ${SINGLE} nor ${INDEX}`,
    "download the whole model; weights in another format must be converted to safetensors",
  );
}

/** Reads the shards that an index lists. Index and shards must name the same tensors, each in one shard. */
async function readShards(dir: string, indexPath: string) {
  const shards = await readIndex(indexPath);
  const tensors = new Map<string, StoredTensor>();
  for (const [shard, names] of shards) {
    const path = join(dir, shard);
    if (!(await isFile(path))) {
      const problem = `${indexPath} lists ${quote(shard)}, which is not there`;
      throw new OryxError("weights_missing", problem, "download the whole model");
    }
    const found = await readSafetensors(path);
    for (const name of names) {
      if (!found.has(name))
        throw malformed(path, `tensor ${quote(name)} is in the index but not in this shard`);
    }
    for (const [name, tensor] of found) {
      if (tensors.has(name)) throw malformed(path, `tensor ${quote(name)} is in another shard too`);
      tensors.set(name, tensor);
    }
  }
  const listed = new Set([...shards.values()].flat());
  const unlisted = [...tensors.keys()].find((name) => !listed.has(name));
  if (unlisted !== undefined)
    throw malformed(indexPath, `tensor ${quote(unlisted)} is in a shard but not listed`);
  return { tensors, files: [...shards.keys()].map((shard) => join(dir, shard)) };
}

/** Tensor names by shard. A shard's name must be plain, so that an index cannot point out of its folder. */
async function readIndex(path: string): Promise<Map<string, string[]>> {
  const { weight_map: weightMap } = await readJsonObject(path, INDEX_BYTES, "weights_malformed", INDEX_JSON);
  if (!isObject(weightMap)) throw malformed(path, "no weight_map");
  const shards = new Map<string, string[]>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== "string" || !/^[\w-][\w.-]*\.safetensors$/.test(shard)) {
      throw malformed(path, `tensor ${quote(name)} is said to be in ${quote(String(shard))}`);
    }
    const names = shards.get(shard);
    if (names) names.push(name);
    else shards.set(shard, [name]);
  }
  return shards;
}
