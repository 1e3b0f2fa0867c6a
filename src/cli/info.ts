import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { Command } from "commander";
import { elementCount, type StoredTensor } from "../core/tensor.ts";
import { hubSettings } from "../net/settings.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { chooseModel, type ModelChoice } from "./model.ts";
import { addOutputOptions } from "./options.ts";
import type { Shell } from "./shell.ts";
import { byteCount, count } from "./words.ts";

interface InfoOptions {
  visionTower?: string;
}

/** `oryx info [MODEL]` */
export function registerInfo(program: Command, shell: Shell): void {
  const command = program
    .command("info")
    .summary("say what a model is and takes")
    .description("Say what a model is and what it takes, from its headers alone: nothing is loaded.")
    .argument("[model]", "folder, or ORG/NAME of a pulled model (default: ORYX_MODEL)")
    .option(
      "--vision-tower <path>",
      "the vision tower's file or folder, when it is not in the model's folder",
    );
  addOutputOptions(command, "print it as one JSON object");
  command.action((model: string | undefined, options: InfoOptions) => info(model, options, shell));
}

async function info(asked: string | undefined, { visionTower }: InfoOptions, shell: Shell): Promise<void> {
  const choice = await chooseModel(asked, shell.io.env);
  const { resolveModel } = await import("../net/hub.ts");
  const { openCheckpoint } = await import("../weights/checkpoint.ts");
  const { openTokenizer } = await import("../node/open.ts");
  const dir = await resolveModel(choice.where, hubSettings(shell.io.env));
  const checkpoint = await openCheckpoint(dir, visionTower === undefined ? {} : { visionTower });
  const facts = await modelFacts(choice, checkpoint, await openTokenizer(dir));
  if (shell.json) shell.printJson(facts);
  else shell.print(factLines(facts));
}

const BYTES_F32 = 4;
const CONNECTOR = /^model\.(vision_resampler|mm_projector)\./;

export type ModelFacts = Awaited<ReturnType<typeof modelFacts>>;

/** What there is to know of a model without loading it. Bytes, and tokens; memory is an estimate. */
async function modelFacts(
  { name, randomWeights }: ModelChoice,
  checkpoint: Checkpoint,
  tokenizer: Tokenizer,
) {
  const { dir, config, generation, visionShape, compressorWidth } = checkpoint;
  const { hiddenSize, intermediateSize, layers, heads, kvHeads, headDim, vocabSize, maxPositions } =
    config.language;
  const tensors = [...checkpoint.language, ...checkpoint.vision];
  const isConnector = ([tensor]: [string, StoredTensor]) => CONNECTOR.test(tensor);
  const connector = parameters([...checkpoint.language].filter(isConnector));
  const [language, vision] = [parameters(checkpoint.language) - connector, parameters(checkpoint.vision)];
  const total = language + connector + vision;
  return {
    model: name,
    dir,
    randomWeights,
    family: config.family,
    language: {
      layers,
      hiddenSize,
      intermediateSize,
      heads,
      kvHeads,
      headDim,
      vocabSize,
      tiedEmbeddings: config.language.tiedEmbeddings,
      contextTokens: maxPositions,
    },
    vision: { ...visionShape, compressorWidth },
    tokenizer: {
      vocabSize: tokenizer.vocabSize,
      stopIds: [
        ...new Set([...(generation?.eosTokenIds ?? config.eosTokenIds), tokenizer.special("<|im_end|>")]),
      ],
    },
    parameters: { language, connector, vision, total },
    weights: {
      bytes: checkpoint.bytes,
      dtypes: [...new Set(tensors.map(([, { dtype }]) => dtype))].sort(),
      files: await Promise.all(
        checkpoint.files.map(async (path) => ({ path, bytes: (await stat(path)).size })),
      ),
    },
    memory: {
      weightsF32Bytes: total * BYTES_F32,
      kvBytesPer1000Tokens: 1000 * 2 * layers * kvHeads * headDim * BYTES_F32,
    },
  };
}

function parameters(tensors: Iterable<[string, StoredTensor]>): number {
  let sum = 0;
  for (const [, { shape }] of tensors) sum += elementCount(shape);
  return sum;
}

function factLines({
  model,
  dir,
  randomWeights,
  family,
  language,
  vision,
  tokenizer,
  parameters,
  weights,
  memory,
}: ModelFacts): string {
  const files = weights.files.map(({ path, bytes }) => `${basename(path)} (${byteCount(bytes)})`);
  const rows = [
    ["model", randomWeights ? `${model} (random weights: its answers mean nothing)` : model],
    ["folder", dir],
    ["family", family],
    [
      "language",
      `${language.layers} layers of width ${language.hiddenSize}, MLP ${language.intermediateSize}`,
    ],
    ["heads", `${language.heads} of size ${language.headDim}, ${language.kvHeads} of keys and values`],
    ["vocabulary", `${count(language.vocabSize)} rows, ${count(tokenizer.vocabSize)} tokens`],
    ["context", `${count(language.contextTokens)} tokens`],
    ["stop ids", tokenizer.stopIds.join(", ")],
    [
      "vision",
      `${vision.blocks} blocks of width ${vision.width}, ${vision.heads} heads, MLP ${vision.mlpWidth}, grid ${vision.grid}x${vision.grid}`,
    ],
    [
      "parameters",
      `${count(parameters.total)}: language ${count(parameters.language)}, connector ${count(parameters.connector)}, vision ${count(parameters.vision)}`,
    ],
    ["weights", `${byteCount(weights.bytes)} of ${weights.dtypes.join(", ")}`],
    ["files", files.join(", ")],
    [
      "memory",
      `about ${byteCount(memory.weightsF32Bytes)} for weights as f32, ${byteCount(memory.kvBytesPer1000Tokens)} for 1,000 tokens`,
    ],
  ];
  return rows.map(([label, text]) => `${`${label}:`.padEnd(12)}${text}\n`).join("");
}
