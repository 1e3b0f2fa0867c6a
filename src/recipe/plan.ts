import { stat } from "node:fs/promises";
import { resolve as resolvePath } from "node:path";
import { OryxError, quote } from "../core/errors.ts";
import { type Example, IGNORED } from "../data/example.ts";
import { outcomeOf } from "../data/loader.ts";
import { PATCH } from "../model/vit.ts";
import type { Progress } from "../train/loop.ts";
import { openStageData, stageDataSpec } from "./data.ts";
import { type ExampleCost, estimateStage, type Machines, type StageEstimate } from "./estimate.ts";
import { modelOf, type Recipe, readModelConfig, stepsOf } from "./recipe.ts";
import type { Stage, StageData } from "./schema.ts";
import { type ResolveModel, tokenizerDirOf } from "./start.ts";

/** What a recipe takes. */
export interface Plan {
  recipe: string;
  machines: Machines;
  stages: StageEstimate[];
  /** Sources of whose examples a run would skip some. */
  skips: Skips[];
}

/** What was found when a source's examples were looked at. */
export interface Skips {
  stage: string;
  /** Number of the source in the stage, from 1. */
  source: number;
  looked: number;
  skipped: number;
  /** Why, of the last one. */
  problem: string;
}

/** Of machines that are not known: a run of a real size fills one alone. */
const LANES = 1;

/** Examples of a stage that are made to find out what one takes on average: the world draws them quickly. */
const SAMPLES = { world: 24, records: 8 } as const;
/** Of each source at least. */
const LEAST_SAMPLES = 4;

/**
 * Reckons what each stage takes. Records count as the recipe estimates them, and nothing of them is read; without an
 * estimate they are counted and some of them made into examples if they are there, as some of the world's are.
 * @throws OryxError `recipe_invalid`, `config_invalid`, `bad_option`, `tokenizer_invalid`, `model_missing`,
 *   `data_invalid`
 */
export async function planRecipe(
  recipe: Recipe,
  stages: readonly Stage[],
  machines: Machines,
  resolve: ResolveModel,
): Promise<Plan> {
  const estimates: StageEstimate[] = [];
  const skips: Skips[] = [];
  for (const stage of stages) {
    const model = await readModelConfig(recipe, modelOf(recipe, stage));
    const { examples, example, ...found } = await costOfStage(recipe, stage, resolve);
    skips.push(...found.skips);
    const steps = stepsOf(stage, examples);
    estimates.push(estimateStage({ stage, model, examples, steps, example, lanes: LANES }, machines));
  }
  return { recipe: recipe.name, machines, stages: estimates, skips };
}

/** Examples of an epoch, and what one of them takes on average. */
interface Cost {
  examples: number;
  example: ExampleCost;
  skips?: Pick<Skips, "looked" | "skipped" | "problem">;
}

/** What a stage's sources take together, each counted by its examples. */
async function costOfStage(recipe: Recipe, stage: Stage, resolve: ResolveModel) {
  const costs: Cost[] = [];
  for (const source of stage.data) {
    const isSampled =
      source.from === "world" || (source.estimate === undefined && (await isThere(recipe, source)));
    const one = { ...stage, data: [source] };
    const samples = Math.max(LEAST_SAMPLES, Math.ceil(SAMPLES[source.from] / stage.data.length));
    costs.push(isSampled ? await sampledCost(recipe, one, samples, resolve) : estimatedCost(source, stage));
  }
  const examples = costs.reduce((sum, cost) => sum + cost.examples, 0);
  const example = { tokens: 0, labels: 0, patches: 0, pictures: 0 };
  for (const key of KEYS) {
    for (const cost of costs) example[key] += (cost.example[key] * cost.examples) / examples;
  }
  const skips = costs.flatMap(({ skips }, i) =>
    skips === undefined ? [] : [{ stage: stage.name, source: i + 1, ...skips }],
  );
  return { examples, example, skips };
}

const KEYS = ["tokens", "labels", "patches", "pictures"] as const;

type RecordsSource = StageData & { from: "records" };

const isThere = async (recipe: Recipe, { file }: RecordsSource): Promise<boolean> =>
  (await stat(resolvePath(recipe.dir, file)).catch(() => undefined)) !== undefined;

/** Records of which the recipe tells nothing are taken for half as long as they may be, one half visual. */
function estimatedCost({ file, count, estimate }: RecordsSource, { maxTokens }: Stage): Cost {
  if (count === undefined) {
    const problem = `there is no file ${quote(file)}, and the recipe has no count of its records`;
    throw new OryxError("recipe_invalid", problem, "put the file there, or give a count");
  }
  const guess = { tokens: maxTokens / 2, labels: maxTokens / 32, patches: maxTokens / 4, pictures: 2 };
  return { examples: count, example: estimate ?? guess };
}

/** The mean over so many examples of a stage of one source, without those that a run would skip. */
async function sampledCost(
  recipe: Recipe,
  stage: Stage,
  samples: number,
  resolve: ResolveModel,
): Promise<Cost> {
  const model = modelOf(recipe, stage);
  const { config } = await readModelConfig(recipe, model);
  const tokenizer = await tokenizerDirOf(recipe, model, resolve);
  const data = await openStageData(await stageDataSpec(recipe, stage, config, tokenizer));
  try {
    const wanted = Math.min(samples, data.length);
    const costs: ExampleCost[] = [];
    let fault = "";
    for (let i = 0; i < wanted; i++) {
      const outcome = await outcomeOf(data, Math.floor((i * data.length) / wanted));
      if ("example" in outcome) costs.push(costOf(outcome.example));
      else fault = outcome.skipped.problem;
    }
    if (costs.length === 0) {
      const problem = `stage ${stage.name}: none of ${wanted} examples can be used, the last because ${fault}`;
      throw new OryxError("data_invalid", problem, "look at the paths, and at what the recipe allows");
    }
    const mean = (key: keyof ExampleCost) => costs.reduce((sum, cost) => sum + cost[key], 0) / costs.length;
    const [tokens, labels, patches, pictures] = [
      mean("tokens"),
      mean("labels"),
      mean("patches"),
      mean("pictures"),
    ];
    const skips = { looked: wanted, skipped: wanted - costs.length, problem: fault };
    const example = { tokens, labels, patches, pictures };
    return { examples: data.length, example, ...(skips.skipped > 0 && { skips }) };
  } finally {
    await data.close();
  }
}

/** What one example takes; pictures that are one object are encoded once. */
export function costOf({ tokens, labels, rowLabels = [], visuals }: Example): ExampleCost {
  const isLearnt = (label: number) => label !== IGNORED;
  const rows = rowLabels.map((of) => of?.filter(isLearnt).length ?? 0);
  const images = visuals.flatMap(({ pictures }) => pictures.map(({ image }) => image));
  const pictures = [...new Set(images)];
  return {
    tokens,
    labels: rows.reduce((n, learnt) => n + learnt, labels.filter(isLearnt).length),
    patches: pictures.reduce((n, { width, height }) => n + (width / PATCH) * (height / PATCH), 0),
    pictures: pictures.length,
  };
}

/**
 * Seconds until all stages of a plan are done, if those that follow go at the pace of the present one by their
 * operations.
 */
export function secondsLeftOf({ stages }: Plan, { stage, secondsLeft, secondsPerStep }: Pace): number {
  const present = stages.findIndex((s) => s.stage === stage);
  const { operations, steps } = stages[present] as StageEstimate;
  const later = stages.slice(present + 1).reduce((sum, s) => sum + s.operations, 0);
  return secondsLeft + (later * secondsPerStep * steps) / operations;
}

/** How the present stage goes. */
type Pace = Pick<Progress, "stage" | "secondsLeft" | "secondsPerStep">;
