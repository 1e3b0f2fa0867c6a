import { createHash } from "node:crypto";
import { dirname, resolve } from "node:path";
import { OryxError } from "../core/errors.ts";
import type { TrainingStyle } from "../data/conversation.ts";
import { mixture, recordDataset } from "../data/dataset.ts";
import type { Dataset } from "../data/example.ts";
import { indexRecords, type RecordIndex } from "../data/record-index.ts";
import type { OryxConfig } from "../model/config.ts";
import type { ViewLimits } from "../model/views.ts";
import { openTokenizer } from "../weights/tokenizer.ts";
import type { WorldOptions } from "../world/sample.ts";
import { type Recipe, viewsOfStage } from "./recipe.ts";
import type { Stage } from "./schema.ts";
import { worldDataset } from "./world-data.ts";

/** One source of a stage, as plain data. */
type SourceSpec =
  | { from: "world"; world: WorldOptions; told?: boolean | undefined; count: number }
  | { from: "records"; file: RecordIndex; root: string };

/** A stage's data as plain data, as it is sent to the threads that prepare examples. */
export interface StageDataSpec {
  sources: readonly SourceSpec[];
  tokenizerDir: string;
  /** Tokens that the model knows. */
  vocabSize: number;
  style: TrainingStyle | "naming";
  views: ViewLimits;
  maxTokens: number;
  /** Of the stage: another stage draws other examples, but for a chance of one in 2^18 for two sources. */
  seed: number;
}

/** The program of threads that prepare examples; absent when running from TypeScript, which Node 20 cannot load there. */
export const DATA_THREAD = import.meta.url.endsWith(".js")
  ? new URL("./data-thread.js", import.meta.url)
  : undefined;

/**
 * What a stage learns from. Files of records are read through once, so that threads can share where each lies.
 * @throws OryxError `data_invalid`
 */
export async function stageDataSpec(
  recipe: Recipe,
  stage: Stage,
  config: OryxConfig,
  tokenizerDir: string,
): Promise<StageDataSpec> {
  const sources: SourceSpec[] = [];
  for (const data of stage.data) {
    if (data.from === "world") {
      const { kinds, easy, needle, told, count } = data;
      sources.push({ from: "world", world: { split: "train", kinds, easy, needle }, told, count });
      continue;
    }
    const path = resolve(recipe.dir, data.file);
    const root = data.media === undefined ? dirname(path) : resolve(recipe.dir, data.media);
    sources.push({ from: "records", file: await indexRecords(path), root });
  }
  return {
    sources,
    tokenizerDir,
    vocabSize: config.language.vocabSize,
    style: stage.template === "chat" ? config.family : stage.template,
    views: viewsOfStage(stage, config.vision.views),
    maxTokens: stage.maxTokens,
    seed: stageSeed(recipe.seed, stage.name),
  };
}

/** A seed of its own for each stage of each recipe. */
function stageSeed(seed: number, stage: string): number {
  return createHash("sha256")
    .update(JSON.stringify([seed, stage]))
    .digest()
    .readUInt32BE();
}

/**
 * Opens what a spec describes: each source once an epoch.
 * @throws OryxError `tokenizer_invalid`, also when the model does not know all its tokens; `data_invalid`
 */
export async function openStageData(spec: StageDataSpec): Promise<Dataset> {
  const tokenizer = await openTokenizer(spec.tokenizerDir);
  if (tokenizer.vocabSize > spec.vocabSize) {
    const problem = `${spec.tokenizerDir} has ${tokenizer.vocabSize} tokens, and the model ${spec.vocabSize}`;
    throw new OryxError("tokenizer_invalid", problem, "name the tokenizer that the model was made for");
  }
  const { style, views, maxTokens, seed } = spec;
  const datasets: Dataset[] = [];
  for (const [i, source] of spec.sources.entries()) {
    const common = { style, views, maxTokens, seed: seed + i };
    if (source.from === "world") {
      const { world, told, count } = source;
      datasets.push(worldDataset({ ...common, count, world, told, tokenizer }));
    } else if (style === "naming") {
      throw new RangeError("records do not say what stands where");
    } else {
      datasets.push(
        await recordDataset({ ...common, style, files: [source.file], root: source.root }, tokenizer),
      );
    }
  }
  return mixture(
    datasets.map((dataset) => ({ dataset, weight: 1 })),
    seed,
  );
}
