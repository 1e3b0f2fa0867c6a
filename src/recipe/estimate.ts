import { OryxError } from "../core/errors.ts";
import { gigabytes } from "../core/figures.ts";
import { elementCount } from "../core/tensor.ts";
import type { LanguageConfig } from "../model/config.ts";
import {
  connectorOperations,
  languageOperations,
  sequencePairs,
  sequencePlaces,
  towerOperations,
} from "../model/cost.ts";
import { PARTS, type Part } from "../train/arena.ts";
import { arrange, type ModelShape } from "../train/parameters.ts";
import { backwardPasses, type LearntShares, learntShares } from "../train/passes.ts";
import { partOf } from "../train/selection.ts";
import { layersPassed } from "./recipe.ts";
import type { Stage } from "./schema.ts";

/** What a stage takes, reckoned from shapes alone: nothing is loaded. */

/** What an example takes, on average over a stage's data. */
export interface ExampleCost {
  /** Tokens of the sequence, visual ones included, and of those the learnt ones. */
  tokens: number;
  labels: number;
  /** Patches that the tower encodes, and the pictures that they are of. */
  patches: number;
  pictures: number;
}

export interface StageEstimate {
  stage: string;
  model: string;
  /** Elements of each part, and of those the trained ones. */
  parameters: Readonly<Record<Part, number>>;
  trained: Readonly<Record<Part, number>>;
  examples: number;
  steps: number;
  example: ExampleCost;
  /** Tokens of the whole stage. */
  tokens: number;
  /** Floating-point operations of the whole stage; a multiplication and an addition are two. */
  operations: number;
  /** Bytes on each machine, all of which hold the whole model. */
  memory: { weights: number; gradients: number; optimiser: number; activations: number };
  /** Seconds on all machines together; undefined when their speed is not known. */
  seconds: number | undefined;
}

export interface EstimateInput {
  stage: Stage;
  model: ModelShape;
  examples: number;
  steps: number;
  example: ExampleCost;
}

export interface Machines {
  count: number;
  /** Runs of the model at a time on one machine. */
  lanes: number;
  /** Floating-point operations a second of one machine, in training. */
  operationsPerSecond: number | undefined;
}

const FLOAT_BYTES = 4;
/** Values of the width, and of the MLP's width, that a block keeps for its backward pass, for each token. */
const KEPT_OF_WIDTH = 12;
const KEPT_OF_MLP = 4;

/** @throws OryxError `bad_option` when the stage trains something that the model does not have */
export function estimateStage(input: EstimateInput, machines: Machines): StageEstimate {
  const { stage, model, examples, steps, example } = input;
  const { lanes, operationsPerSecond: speed } = machines;
  const { parameters, trained, shares } = countParameters(model, stage);
  const seen = steps * stage.batch;
  const passed = { ...model.config.language, layers: layersPassed(stage, model.config.language) };
  const operations = seen * exampleOperations(model, passed, shares, example);
  return {
    stage: stage.name,
    model: stage.model as string,
    parameters,
    trained,
    examples,
    steps,
    example,
    tokens: seen * example.tokens,
    operations,
    memory: {
      ...arenaBytes({ parameters, trained }, lanes),
      activations: lanes * activationBytes(passed, stage, example),
    },
    seconds: speed === undefined ? undefined : operations / (speed * machines.count),
  };
}

/**
 * Bytes that a stage's weights, gradients and moments take, whatever its examples are: beside the sums of gradients,
 * each lane has its own, which are added to them.
 */
function arenaBytes({ parameters, trained }: Pick<StageEstimate, "parameters" | "trained">, lanes: number) {
  const [all, learnt] = [FLOAT_BYTES * sum(parameters), FLOAT_BYTES * sum(trained)];
  return { weights: all, gradients: (1 + lanes) * learnt, optimiser: 2 * learnt };
}

/**
 * Sees to it that a stage's weights, gradients and moments fit into memory, before any is taken.
 * @param memory bytes of the machine, and those that the stage before holds meanwhile
 * @throws OryxError `out_of_memory`, `bad_option`
 */
export function requireMemory(
  { stage, model, lanes }: Pick<EstimateInput, "stage" | "model"> & Pick<Machines, "lanes">,
  { total, held }: { total: number; held: number },
): void {
  const { weights, gradients, optimiser } = arenaBytes(countParameters(model, stage), lanes);
  const needed = weights + gradients + optimiser;
  if (held + needed <= total) return;
  const beside = held > 0 ? ` beside the ${gigabytes(held)} of the stage before` : "";
  throw new OryxError(
    "out_of_memory",
    `stage ${stage.name} takes ${gigabytes(needed)}${beside}, and the machine has ${gigabytes(total)}`,
    "train fewer parts, with lora or on fewer --threads; --dry-run tells what each stage takes",
  );
}

/** Elements of each part, LoRA's factors included, of those the trained ones, and the share of matrices among them. */
function countParameters(model: ModelShape, { train, lora }: Stage) {
  const { shapes, selected } = arrange(model, { trained: train, lora });
  const parameters = { tower: 0, connector: 0, language: 0 };
  const trained = { tower: 0, connector: 0, language: 0 };
  for (const [name, dims] of shapes) {
    parameters[partOf(name)] += elementCount(dims);
    if (selected.has(name)) trained[partOf(name)] += elementCount(dims);
  }
  return { parameters, trained, shares: learntShares(shapes, (name) => selected.has(name)) };
}

/** Operations of one example: forward, and backward where something is learnt. */
function exampleOperations(
  { visionShape, compressorWidth }: ModelShape,
  language: LanguageConfig,
  shares: LearntShares,
  { tokens, labels, patches, pictures }: ExampleCost,
): number {
  const backward = backwardPasses(shares);
  const widths = { width: visionShape.width, compressorWidth, hiddenSize: language.hiddenSize };
  const each = pictures > 0 ? patches / pictures : 0;
  const places = sequencePlaces(tokens);
  return (
    (1 + backward.tower) * towerOperations(visionShape, pictures, each) +
    (1 + backward.connector) * connectorOperations(widths, patches, Math.min(patches, tokens)) +
    (1 + backward.language) *
      languageOperations(language, { tokens: places, pairs: sequencePairs(places), predicted: labels })
  );
}

/** What a micro-batch of the language model keeps until its backward pass is done. The tower's is smaller. */
function activationBytes(c: LanguageConfig, stage: Stage, { tokens, labels }: ExampleCost): number {
  const length = Math.min(tokens, stage.maxTokens);
  const batch = Math.max(length, stage.microTokens);
  const perToken =
    KEPT_OF_WIDTH * c.hiddenSize +
    KEPT_OF_MLP * c.intermediateSize +
    (2 * c.heads * sequencePairs(length)) / Math.max(1, length);
  const logits = tokens > 0 ? 3 * c.vocabSize * batch * (labels / tokens) : 0;
  return FLOAT_BYTES * (batch * c.layers * perToken + logits);
}

function sum(parts: Readonly<Record<Part, number>>): number {
  return PARTS.reduce((n, part) => n + parts[part], 0);
}
