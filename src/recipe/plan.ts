import { type Example, IGNORED } from "../data/example.ts";
import { PATCH } from "../model/vit.ts";
import { openStageData, stageDataSpec } from "./data.ts";
import { type ExampleCost, estimateStage, type Machines, type StageEstimate } from "./estimate.ts";
import { examplesOf, modelOf, type Recipe, readModelConfig, stepsOf } from "./recipe.ts";
import type { Stage, StageData } from "./schema.ts";
import { type ResolveModel, tokenizerDirOf } from "./start.ts";

/** What a recipe takes. */
export interface Plan {
  recipe: string;
  machines: Machines;
  stages: StageEstimate[];
}

/** Examples of the world that are made to find out what one takes on average. */
const WORLD_SAMPLES = 24;

/**
 * Reckons what each stage takes. Records count as the recipe says; nothing of them is read. The world's examples are
 * sampled.
 * @throws OryxError `recipe_invalid`, `config_invalid`, `bad_option`, `tokenizer_invalid`, `model_missing`
 */
export async function planRecipe(
  recipe: Recipe,
  stages: readonly Stage[],
  machines: Machines,
  resolve: ResolveModel,
): Promise<Plan> {
  const estimates: StageEstimate[] = [];
  for (const stage of stages) {
    const model = await readModelConfig(recipe, modelOf(recipe, stage));
    const examples = examplesOf(stage);
    const example = await averageCost(recipe, stage, resolve);
    const steps = stepsOf(stage, examples);
    estimates.push(estimateStage({ stage, model, examples, steps, example }, machines));
  }
  return { recipe: recipe.name, machines, stages: estimates };
}

/** What an example of a stage takes, each source counted by its examples. */
async function averageCost(recipe: Recipe, stage: Stage, resolve: ResolveModel): Promise<ExampleCost> {
  const total = { tokens: 0, labels: 0, patches: 0, pictures: 0 };
  const examples = examplesOf(stage);
  for (const source of stage.data) {
    const cost =
      source.from === "world"
        ? await sampledCost(recipe, { ...stage, data: [source] }, resolve)
        : guessedCost(source, stage);
    for (const key of KEYS) total[key] += (cost[key] * source.count) / examples;
  }
  return total;
}

const KEYS = ["tokens", "labels", "patches", "pictures"] as const;

/** Records of which the recipe tells nothing are taken for half as long as they may be, one half visual. */
function guessedCost({ estimate }: StageData & { from: "records" }, { maxTokens }: Stage): ExampleCost {
  return estimate ?? { tokens: maxTokens / 2, labels: maxTokens / 32, patches: maxTokens / 4, pictures: 2 };
}

async function sampledCost(recipe: Recipe, stage: Stage, resolve: ResolveModel): Promise<ExampleCost> {
  const model = modelOf(recipe, stage);
  const { config } = await readModelConfig(recipe, model);
  const tokenizer = await tokenizerDirOf(recipe, model, resolve);
  const data = await openStageData(await stageDataSpec(recipe, stage, config, tokenizer));
  const total = { tokens: 0, labels: 0, patches: 0, pictures: 0 };
  try {
    for (let i = 0; i < WORLD_SAMPLES; i++) {
      const cost = costOf(await data.example(Math.floor((i * data.length) / WORLD_SAMPLES)));
      for (const key of KEYS) total[key] += cost[key] / WORLD_SAMPLES;
    }
  } finally {
    await data.close();
  }
  return total;
}

/** What one example takes. */
export function costOf({ tokens, labels, visuals }: Example): ExampleCost {
  const pictures = visuals.flatMap((visual) => visual.pictures);
  return {
    tokens,
    labels: labels.filter((label) => label !== IGNORED).length,
    patches: pictures.reduce((n, { image }) => n + (image.width / PATCH) * (image.height / PATCH), 0),
    pictures: pictures.length,
  };
}
