import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { OryxError, quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type LanguageConfig, type OryxConfig, parseConfig } from "../model/config.ts";
import type { ViewLimits } from "../model/views.ts";
import type { ModelShape } from "../train/parameters.ts";
import { readJsonObject } from "../weights/files.ts";
import { JsonError, parseJson } from "../weights/json.ts";
import { type Model, type RawRecipe, RECIPE, type Stage } from "./schema.ts";

/** A recipe that was read: checked, with defaults filled in, and every stage knowing its model. */
export interface Recipe extends RawRecipe {
  /** Folder of the file; paths in it are relative to this. */
  readonly dir: string;
}

const RECIPE_FILE = "recipe.json";
const RECIPE_JSON = { maxValues: 100_000, maxTextBytes: LIMITS.configBytes };

/**
 * Reads a recipe: its file, or a folder that has a `recipe.json`.
 * @throws OryxError `recipe_invalid`
 */
export async function readRecipe(where: string): Promise<Recipe> {
  const found = await stat(where).catch(() => undefined);
  const path = found?.isDirectory() ? join(where, RECIPE_FILE) : where;
  const file = await stat(path).catch(() => undefined);
  if (!file?.isFile()) {
    throw new OryxError(
      "recipe_invalid",
      `there is no recipe ${path}`,
      "name a folder that has a recipe.json",
    );
  }
  if (file.size > LIMITS.configBytes) throw invalid(path, `${file.size} bytes are too many`);
  try {
    return { ...parseRecipe(parseJson(await readFile(path), RECIPE_JSON)), dir: dirname(resolve(path)) };
  } catch (error) {
    if (error instanceof OryxError) throw invalid(path, error.message, error);
    if (error instanceof JsonError) throw invalid(path, `not valid JSON: ${error.message}`, error);
    throw invalid(path, `cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`, error);
  }
}

/**
 * Checks a recipe's JSON. What a stage leaves out is filled in; stages of one name, or of a model that the recipe
 * does not have, are refused.
 * @throws OryxError `recipe_invalid`
 */
export function parseRecipe(json: unknown): RawRecipe {
  const result = RECIPE.safeParse(json);
  if (!result.success) {
    const shown = result.error.issues.slice(0, 5).map(({ path, message }) => {
      return path.length > 0 ? `${quote(path.join("."))}: ${message}` : message;
    });
    throw invalid("", shown.join("; "), result.error);
  }
  const { models, stages } = result.data;
  let model = Object.keys(models)[0] as string;
  const names = new Set<string>();
  const complete = stages.map((stage): Stage => {
    model = stage.model ?? model;
    if (!Object.hasOwn(models, model))
      throw invalid("", `stage ${stage.name} names no model of the recipe: ${quote(model)}`);
    if (names.has(stage.name)) throw invalid("", `two stages are called ${stage.name}`);
    names.add(stage.name);
    return { ...stage, model };
  });
  return { ...result.data, stages: complete };
}

/** Stages up to the one that is named. @throws OryxError `bad_option` */
export function stagesUntil({ stages }: RawRecipe, name: string | undefined): readonly Stage[] {
  if (name === undefined) return stages;
  const last = stages.findIndex((stage) => stage.name === name);
  if (last >= 0) return stages.slice(0, last + 1);
  const names = stages.map((stage) => stage.name).join(", ");
  throw new OryxError("bad_option", `the recipe has no stage ${name}`, `give one of ${names}`);
}

/** The model that a stage trains. */
export function modelOf(recipe: RawRecipe, stage: Stage): Model {
  return recipe.models[stage.model as string] as Model;
}

/** Layers of a language model that a stage's examples pass. */
export const layersPassed = ({ template }: Stage, { layers }: LanguageConfig): number =>
  template === "naming" ? 0 : layers;

/** Optimiser steps of a stage over so many examples an epoch. Batches run on from one epoch into the next. */
export function stepsOf(stage: Stage, examples: number): number {
  return stage.steps ?? Math.max(1, Math.ceil((examples * (stage.epochs as number)) / stage.batch));
}

/**
 * The bounds on pictures of a stage: the model's own, with what the stage sets otherwise.
 * @throws OryxError `recipe_invalid` when together they leave nothing
 */
export function viewsOfStage(stage: Stage, own: ViewLimits): ViewLimits {
  const { image, video, video_long } = stage.views ?? {};
  const views = {
    image: { ...own.image, ...given(image) },
    video: { ...own.video, ...given(video) },
    video_long: { ...own.video_long, ...given(video_long) },
  };
  for (const modality of ["video", "video_long"] as const) {
    const { least, most } = views[modality];
    if (least > most)
      throw invalid("", `stage ${stage.name}: ${modality} has least ${least} and most ${most}`);
  }
  return views;
}

/** A model's config.json. @throws OryxError `recipe_invalid` when there is none, `config_invalid` */
export async function readModelConfig(recipe: Recipe, model: Model): Promise<ModelShape & { path: string }> {
  const path = resolve(recipe.dir, model.config);
  const json = await readJsonObject(path, LIMITS.configBytes, "config_invalid", RECIPE_JSON).catch(
    (error) => {
      if (error instanceof OryxError && error.code === "model_missing")
        throw invalid(recipe.dir, error.message, error);
      throw error;
    },
  );
  const config = parseConfig(json);
  const { hiddenSize: width, heads } = config.vision;
  const visionShape = { width, heads, ...model.tower };
  return { config, path, visionShape, compressorWidth: model.compressorWidth };
}

/**
 * What a stage's outcome depends on: everything up to and with it. A run may go on with a recipe whose later stages
 * were changed, and must not with one whose past was.
 * @param until number of the stage @param config of its model, as a file of the recipe has it
 * @param files bytes of the stage's files of records
 */
export function fingerprintOf(
  { recipe, seed, models, stages }: RawRecipe,
  until: number,
  config: OryxConfig,
  files: readonly number[] = [],
): string {
  const past = stages.slice(0, until + 1).map(({ about: _, microTokens: __, ...stage }) => stage);
  const used = [...new Set(past.map(({ model }) => model as string))].map((name) => [name, models[name]]);
  return hashOf(JSON.stringify({ recipe, seed, models: used, past, config, files }));
}

/** Tells what a run depends on from others. */
export const hashOf = (data: string | Uint8Array): string =>
  createHash("sha256").update(data).digest("hex").slice(0, 32);

/** Bytes of each file of records that a stage learns from; 0 where there is none. */
export const recordBytes = async (recipe: Recipe, stage: Stage): Promise<number[]> =>
  (await recordFiles(recipe, stage)).map((file) => file?.size ?? 0);

/** When each of them was last written to, in milliseconds. */
export const recordTimes = async (recipe: Recipe, stage: Stage): Promise<number[]> =>
  (await recordFiles(recipe, stage)).map((file) => file?.mtimeMs ?? 0);

async function recordFiles(recipe: Recipe, stage: Stage) {
  const files = stage.data.flatMap((data) => (data.from === "records" ? [data.file] : []));
  return Promise.all(files.map((file) => stat(resolve(recipe.dir, file)).catch(() => undefined)));
}

/** The fields that have a value. */
function given<T extends object>(fields: T | undefined): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields ?? {}).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

function invalid(where: string, problem: string, cause?: unknown): OryxError {
  const told = where === "" ? problem : `${where}: ${problem}`;
  return new OryxError("recipe_invalid", told, "mend the recipe; recipes/ has examples", { cause });
}
