import { readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { OryxError, quote } from "../core/errors.ts";
import { elementCount, type StoredTensor } from "../core/tensor.ts";
import type { Runtime } from "../runtime/session.ts";
import { PARTS, type Part } from "../train/arena.ts";
import { isFactor } from "../train/lora.ts";
import type { Parameters } from "../train/parameters.ts";
import { partOf } from "../train/selection.ts";
import { loadFloat32 } from "../weights/files.ts";
import { readSafetensors } from "../weights/safetensors.ts";
import { findTower, readTowerFile, splitTower, TOWER } from "../weights/tower.ts";
import type { Recipe } from "./recipe.ts";
import type { Model } from "./schema.ts";

/** Gives the folder that a recipe's word for a model means: a path, or a hub id that was pulled. */
export type ResolveModel = (where: string) => Promise<string>;

/** The folder meant by a word of a recipe: one relative to the recipe if there is one, else what `otherwise` finds. */
export async function placeOf(recipe: Recipe, where: string, otherwise: ResolveModel): Promise<string> {
  const path = resolve(recipe.dir, where);
  return (await stat(path).catch(() => undefined)) ? path : otherwise(where);
}

/** Where the tokenizer of a model lies: where the recipe says, or beside the config. */
export async function tokenizerDirOf(
  recipe: Recipe,
  { tokenizer, config }: Model,
  otherwise: ResolveModel,
): Promise<string> {
  return tokenizer === undefined
    ? dirname(resolve(recipe.dir, config))
    : placeOf(recipe, tokenizer, otherwise);
}

/**
 * Fills the parameters of a stage that begins with a model of its own: random, read from folders, or taken over from
 * the stage before.
 * @param before parameters of the stage before, for parts that are "carried"
 * @throws OryxError `recipe_invalid` (nothing to carry), `weights_*`, `model_missing`
 */
export async function startParameters(
  parameters: Parameters,
  recipe: Recipe,
  model: Model,
  options: { resolve: ResolveModel; before: Parameters | undefined; runtime: Runtime },
): Promise<void> {
  parameters.initialise(recipe.seed);
  for (const part of PARTS) {
    const where = model.start[part];
    if (where === "random") continue;
    if (where === "carried") {
      if (options.before === undefined) throw nothingToCarry(part);
      await carryParameters(options.before, parameters, options.runtime, part);
    } else {
      await readPart(parameters, part, await placeOf(recipe, where, options.resolve));
    }
  }
}

/**
 * Takes over what a stage has learnt, corrections of LoRA merged; everything, or one part.
 * @throws OryxError `weights_mismatch` when a tensor has another shape here
 */
export async function carryParameters(
  from: Parameters,
  to: Parameters,
  runtime: Runtime,
  only?: Part,
): Promise<void> {
  for await (const [name, { data, shape }] of from.merged(runtime)) {
    if (only === undefined || partOf(name) === only) fill(to, name, data, shape);
  }
}

async function readPart(parameters: Parameters, part: Part, dir: string): Promise<void> {
  const stored = part === "tower" ? await readTower(dir) : await readTensors(dir);
  requireAllBlocks(parameters, part, stored.keys());
  for (const name of parameters.names()) {
    if (partOf(name) !== part || isFactor(name)) continue;
    const tensor = stored.get(name);
    if (tensor === undefined) {
      const problem = `${dir} has no tensor ${quote(name)}`;
      throw new OryxError("weights_missing", problem, "start this part from another folder, or at random");
    }
    checkShape(name, tensor.shape, parameters.tensor(name).shape);
    fill(parameters, name, await loadFloat32(tensor), tensor.shape);
  }
}

/** A folder with more blocks than the recipe's model has would serve, and mean nothing. */
function requireAllBlocks(parameters: Parameters, part: Part, names: Iterable<string>): void {
  for (const name of names) {
    if (partOf(name) !== part || parameters.has(name) || !/\.(blocks|layers)\.\d+\./.test(name)) continue;
    if (name.endsWith(".rotary_emb.inv_freq")) continue; // a table of old Llama files
    throw misfit(`there is no place for ${quote(name)} in the recipe's model`);
  }
}

/** Tensors of all safetensors files of a folder. */
async function readTensors(dir: string): Promise<Map<string, StoredTensor>> {
  const names = await readdir(dir).catch((cause) => {
    throw new OryxError("model_missing", `there is no folder ${dir}`, "check the recipe", { cause });
  });
  const tensors = new Map<string, StoredTensor>();
  for (const name of names.filter((n) => n.endsWith(".safetensors")).sort()) {
    for (const [key, tensor] of await readSafetensors(join(dir, name))) tensors.set(key, tensor);
  }
  return tensors;
}

/** The tower's tensors, whether they lie inside a model's files or in one of their own. */
async function readTower(dir: string): Promise<Map<string, StoredTensor>> {
  const { tower } = splitTower(await readTensors(dir));
  const short = tower.size > 0 ? tower : await readTowerFile(await findTower(dir, undefined, null));
  return new Map([...short].map(([name, tensor]) => [`${TOWER}.${name}`, tensor]));
}

function fill(parameters: Parameters, name: string, data: Float32Array, shape: readonly number[]): void {
  if (!parameters.has(name)) throw misfit(`there is no place for ${quote(name)} in the recipe's model`);
  const target = parameters.tensor(name);
  checkShape(name, shape, target.shape);
  target.data.set(data);
}

function checkShape(name: string, found: readonly number[], needed: readonly number[]): void {
  if (elementCount(found) === elementCount(needed) && found.at(-1) === needed.at(-1)) return;
  throw misfit(`${quote(name)} is [${found}], and the recipe's model has [${needed}]`);
}

function misfit(problem: string): OryxError {
  const remedy = "give the model the shape of the weights that it starts from";
  return new OryxError("weights_mismatch", problem, remedy);
}

function nothingToCarry(part: Part): OryxError {
  const problem = `the first stage's ${part} is to be carried over, and there is no stage before it`;
  return new OryxError("recipe_invalid", problem, "start it at random or from a folder");
}
