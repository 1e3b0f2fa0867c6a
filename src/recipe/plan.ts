import { stat } from "node:fs/promises";
import { resolve as resolvePath } from "node:path";
import { OryxError, quote } from "../core/errors.ts";
import { type Example, IGNORED } from "../data/example.ts";
import { outcomeOf } from "../data/loader.ts";
import { indexRecords } from "../data/record-index.ts";
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

/** Examples of a stage that are made to find out what one takes on average: the world draws them quickly. */
const SAMPLES = { world: 24, records: 8 } as const;
/** Of each source at least; long films of one length are alike, and take seconds to draw. */
const LEAST_SAMPLES = 4;
const OF_LONG_FILMS = 1;

/**
 * Reckons what each stage takes. Of records with a count and an estimate nothing is read. Without a count they are
 * counted, and without an estimate some of them made into examples, as some of the world's are.
 * @throws OryxError `recipe_invalid`, `config_invalid`, `bad_option`, `tokenizer_invalid`, `model_missing`,
 *   `data_invalid`
 */
export async function planRecipe(
  recipe: Recipe,
  stages: readonly Stage[],
  machines: Machines,
  resolve: ResolveModel,
  onStage: (stage: Stage) => void = () => {},
): Promise<Plan> {
  const estimates: StageEstimate[] = [];
  const skips: Skips[] = [];
  for (const stage of stages) {
    onStage(stage);
    const model = await readModelConfig(recipe, modelOf(recipe, stage));
    const { examples, example, ...found } = await costOfStage(recipe, stage, resolve);
    skips.push(...found.skips);
    const steps = stepsOf(stage, examples);
    estimates.push(estimateStage({ stage, model, examples, steps, example }, machines));
  }
  return { recipe: recipe.name, machines, stages: estimates, skips };
}

/** Examples of an epoch, and what one of them takes on average; nothing where none was found that can be used. */
interface Cost {
  examples: number;
  example?: ExampleCost;
  skips?: Pick<Skips, "looked" | "skipped" | "problem">;
}

/** What a stage's sources take together, each counted by its examples. */
async function costOfStage(recipe: Recipe, stage: Stage, resolve: ResolveModel) {
  const costs: Cost[] = [];
  for (const source of stage.data) {
    const isSampled =
      source.from === "world" || (source.estimate === undefined && (await isThere(recipe, source)));
    const one = { ...stage, data: [source] };
    const isLong = source.from === "world" && source.needle?.frames !== undefined;
    const several = Math.max(LEAST_SAMPLES, Math.ceil(SAMPLES[source.from] / stage.data.length));
    const samples = isLong ? OF_LONG_FILMS : several;
    costs.push(
      isSampled
        ? await sampledCost(recipe, one, samples, resolve)
        : estimatedCost(source, await countOf(recipe, source), stage),
    );
  }
  const skips = costs.flatMap(({ skips }, i) =>
    skips === undefined ? [] : [{ stage: stage.name, source: i + 1, ...skips }],
  );
  const sum = (some: readonly Cost[]) => some.reduce((n, { examples }) => n + examples, 0);
  const usable = costs.filter((cost) => cost.example !== undefined);
  if (usable.length === 0) {
    const looked = skips.reduce((n, skip) => n + skip.looked, 0);
    const problem = `stage ${stage.name}: none of ${looked} examples can be used, the last because ${skips.at(-1)?.problem}`;
    throw new OryxError("data_invalid", problem, "look at the paths, and at what the recipe allows");
  }
  const example = { tokens: 0, labels: 0, patches: 0, pictures: 0 };
  for (const key of KEYS) {
    for (const cost of usable) example[key] += ((cost.example?.[key] ?? 0) * cost.examples) / sum(usable);
  }
  return { examples: sum(costs), example, skips };
}

const KEYS = ["tokens", "labels", "patches", "pictures"] as const;

type RecordsSource = StageData & { from: "records" };

const isThere = async (recipe: Recipe, { file }: RecordsSource): Promise<boolean> =>
  (await stat(resolvePath(recipe.dir, file)).catch(() => undefined)) !== undefined;

/** How many records the recipe says there are, else there are. */
async function countOf(recipe: Recipe, source: RecordsSource): Promise<number> {
  const { file, count } = source;
  if (count !== undefined) return count;
  if (await isThere(recipe, source)) return (await indexRecords(resolvePath(recipe.dir, file))).starts.length;
  const problem = `there is no file ${quote(file)}, and the recipe has no count of its records`;
  throw new OryxError("recipe_invalid", problem, "put the file there, or give a count");
}

/** Records of which the recipe tells nothing are taken for half as long as they may be, one half visual. */
function estimatedCost({ estimate }: RecordsSource, count: number, { maxTokens }: Stage): Cost {
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
    const skips = { looked: wanted, skipped: wanted - costs.length, problem: fault };
    if (costs.length === 0) return { examples: data.length, skips };
    const mean = (key: keyof ExampleCost) => costs.reduce((sum, cost) => sum + cost[key], 0) / costs.length;
    const [tokens, labels, patches, pictures] = [
      mean("tokens"),
      mean("labels"),
      mean("patches"),
      mean("pictures"),
    ];
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
