import { OryxError } from "../core/errors.ts";
import { elementCount } from "../core/tensor.ts";
import type { LanguageConfig } from "../model/config.ts";
import { PATCH, type VisionShape } from "../model/vit.ts";
import { PARTS, type Part } from "../train/arena.ts";
import { arrange, type ModelShape } from "../train/parameters.ts";
import { partOf } from "../train/selection.ts";
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
  const { parameters, trained } = countParameters(model, stage);
  const seen = steps * stage.batch;
  const operations = seen * exampleOperations(model, trained, example);
  const speed = machines.operationsPerSecond;
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
      ...arenaBytes({ parameters, trained }),
      activations: activationBytes(model.config.language, stage, example),
    },
    seconds: speed === undefined ? undefined : operations / (speed * machines.count),
  };
}

/** Bytes that a stage's weights, gradients and moments take, whatever its examples are. */
function arenaBytes({ parameters, trained }: Pick<StageEstimate, "parameters" | "trained">) {
  const [all, learnt] = [FLOAT_BYTES * sum(parameters), FLOAT_BYTES * sum(trained)];
  return { weights: all, gradients: learnt, optimiser: 2 * learnt };
}

/**
 * Sees to it that a stage's weights, gradients and moments fit into memory, before any is taken.
 * @param available bytes @throws OryxError `out_of_memory`, `bad_option`
 */
export function requireMemory(stage: Stage, model: ModelShape, available: number): void {
  const { weights, gradients, optimiser } = arenaBytes(countParameters(model, stage));
  const needed = weights + gradients + optimiser;
  if (needed <= available) return;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  const problem = `stage ${stage.name} takes ${gigabytes(needed)}, and the machine has ${gigabytes(available)}`;
  throw new OryxError(
    "out_of_memory",
    problem,
    "train fewer parts, or with lora; --dry-run tells what it takes",
  );
}

/** Elements of each part, LoRA's factors included, and of those the trained ones. */
function countParameters(model: ModelShape, { train, lora }: Stage) {
  const { shapes, selected } = arrange(model, { trained: train, lora });
  const parameters = { tower: 0, connector: 0, language: 0 };
  const trained = { tower: 0, connector: 0, language: 0 };
  for (const [name, dims] of shapes) {
    parameters[partOf(name)] += elementCount(dims);
    if (selected.has(name)) trained[partOf(name)] += elementCount(dims);
  }
  return { parameters, trained };
}

/**
 * Operations of one example: forward, what is computed again for the backward pass, the gradients that lead
 * back to the first trained part, and those of trained weights. Each of these takes what the forward pass does.
 */
function exampleOperations(
  { config, visionShape, compressorWidth }: ModelShape,
  trained: Readonly<Record<Part, number>>,
  example: ExampleCost,
): number {
  const isTrainedPart = (part: Part) => (trained[part] > 0 ? 1 : 0);
  const [tower, connector, language] = PARTS.map(isTrainedPart) as [number, number, number];
  const passes = {
    tower: 1 + 3 * tower,
    connector: 1 + (tower || connector) * (1 + tower) + connector,
    language: 1 + 1 + language,
  };
  return (
    passes.tower * towerOperations(visionShape, example) +
    passes.connector * connectorOperations(visionShape.width, compressorWidth, config.language, example) +
    passes.language * languageOperations(config.language, example)
  );
}

function towerOperations(
  { width, blocks, mlpWidth }: VisionShape,
  { patches, pictures }: ExampleCost,
): number {
  const weights = blocks * (4 * width * width + 2 * width * mlpWidth) + 3 * PATCH * PATCH * width;
  const scores = pictures > 0 ? (4 * blocks * width * patches * patches) / pictures : 0;
  return 2 * patches * weights + scores;
}

function connectorOperations(
  width: number,
  compressorWidth: number,
  { hiddenSize }: LanguageConfig,
  { patches, tokens }: ExampleCost,
): number {
  const regions = Math.min(patches, tokens);
  const projector = width * hiddenSize + hiddenSize * hiddenSize;
  return 2 * compressorWidth * width * (patches + regions) + 2 * regions * projector;
}

function languageOperations(c: LanguageConfig, { tokens, labels }: ExampleCost): number {
  const attention = c.hiddenSize * c.headDim * 2 * (c.heads + c.kvHeads);
  const layers = c.layers * (attention + 3 * c.hiddenSize * c.intermediateSize);
  // Scores are computed for the whole square, and masked.
  const scores = 4 * c.layers * c.heads * c.headDim * tokens * tokens;
  return 2 * tokens * layers + 2 * labels * c.hiddenSize * c.vocabSize + scores;
}

/** What a micro-batch of the language model keeps until its backward pass is done. The tower's is smaller. */
function activationBytes(c: LanguageConfig, stage: Stage, { tokens, labels }: ExampleCost): number {
  const length = Math.min(tokens, stage.maxTokens);
  const batch = Math.max(length, stage.microTokens);
  const perToken = KEPT_OF_WIDTH * c.hiddenSize + KEPT_OF_MLP * c.intermediateSize + 2 * c.heads * length;
  const logits = tokens > 0 ? 3 * c.vocabSize * batch * (labels / tokens) : 0;
  return FLOAT_BYTES * (batch * c.layers * perToken + logits);
}

function sum(parts: Readonly<Record<Part, number>>): number {
  return PARTS.reduce((n, part) => n + parts[part], 0);
}
