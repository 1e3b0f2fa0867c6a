import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { Command } from "commander";
import { OryxError } from "../core/errors.ts";
import { count } from "../core/figures.ts";
import { elementCount, type StoredTensor } from "../core/tensor.ts";
import { kvBytes } from "../model/cost.ts";
import { hubSettings } from "../net/settings.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { Manifest } from "../weights/converted.ts";
import { isConnector } from "../weights/expected.ts";
import { HEAD } from "../weights/forms.ts";
import type { Int4Block } from "../weights/quantise.ts";
import { asMatrices, blockOfShape, partOf } from "../weights/quantised.ts";
import { chooseModel, type ModelChoice } from "./model.ts";
import { addOutputOptions } from "./options.ts";
import type { Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";
import { byteCount, timeLeft } from "./words.ts";

interface InfoOptions {
  visionTower?: string;
  check?: boolean;
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
  command.option("--check", "of a converted model: read all weights and compare their hashes");
  addOutputOptions(command, "print it as one JSON object");
  command.action((model: string | undefined, options: InfoOptions) => info(model, options, shell));
}

async function info(
  asked: string | undefined,
  { visionTower, check = false }: InfoOptions,
  shell: Shell,
): Promise<void> {
  const choice = chooseModel(asked, shell.io.env);
  const { resolveModel } = await import("../net/hub.ts");
  const { openCheckpoint } = await import("../weights/checkpoint.ts");
  const { openTokenizer } = await import("../weights/tokenizer.ts");
  const dir = await resolveModel(choice.where, hubSettings(shell.io.env));
  const checkpoint = await openCheckpoint(dir, visionTower === undefined ? {} : { visionTower });
  if (check) await checkHashes(checkpoint, shell);
  const facts = await modelFacts(choice, checkpoint, await openTokenizer(dir), check);
  if (shell.json) shell.printJson(facts);
  else shell.print(factLines(facts));
}

/** Hashes everything again. @throws OryxError `weights_malformed`; `bad_option` when there are no hashes to compare with */
async function checkHashes({ dir, manifest }: Checkpoint, shell: Shell): Promise<void> {
  if (manifest === undefined) {
    const problem = `${dir} is a model as published, which comes without hashes`;
    throw new OryxError(
      "bad_option",
      problem,
      "leave --check out, or pull the model again to have it verified",
    );
  }
  const { verifyConverted } = await import("../weights/converted.ts");
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  const startMs = performance.now();
  try {
    await verifyConverted(dir, {
      signal: shell.signal,
      onProgress(done, total) {
        const left = timeLeft(done, total, performance.now() - startMs);
        line.show(`checking: ${byteCount(done)} of ${byteCount(total)}${left}`);
      },
    });
  } finally {
    line.clear();
  }
}

const BYTES_F32 = 4;

export type ModelFacts = Awaited<ReturnType<typeof modelFacts>>;

/** What there is to know of a model without loading it. Bytes, and tokens; memory is an estimate. */
async function modelFacts(
  { name }: ModelChoice,
  checkpoint: Checkpoint,
  tokenizer: Tokenizer,
  isChecked: boolean,
) {
  const { stopIds } = await import("../weights/tokenizer.ts");
  const { dir, config, visionShape, compressorWidth } = checkpoint;
  const { hiddenSize, intermediateSize, layers, heads, kvHeads, headDim, vocabSize, maxPositions } =
    config.language;
  const tensors = [...checkpoint.language, ...checkpoint.vision];
  const connector = parameters([...checkpoint.language].filter(([tensor]) => isConnector(tensor)));
  // A tied output layer may have a copy of its own, which adds no parameters.
  const matrices = asMatrices(checkpoint.language, dir);
  if (config.language.tiedEmbeddings) matrices.delete(HEAD);
  const language = parameters(matrices) - connector;
  const vision = parameters(asMatrices(checkpoint.vision, dir));
  const total = language + connector + vision;
  return {
    model: name,
    dir,
    randomWeights: config.randomWeights,
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
      stopIds: [...stopIds(checkpoint, tokenizer)],
    },
    parameters: { language, connector, vision, total },
    converted: checkpoint.manifest && {
      ...conversionFacts(checkpoint.manifest),
      int4Blocks: int4Blocks(checkpoint.language),
      isChecked,
    },
    weights: {
      bytes: checkpoint.bytes,
      dtypes: [...new Set(tensors.map(([, { dtype }]) => dtype))].sort(),
      files: await Promise.all(
        checkpoint.files.map(async (path) => ({ path, bytes: (await stat(path)).size })),
      ),
    },
    memory: {
      // A model as published becomes f32 when it is loaded; a converted one stays as it is.
      weightsAs: checkpoint.manifest ? ("stored" as const) : ("f32" as const),
      weightsBytes: checkpoint.manifest ? checkpoint.bytes : total * BYTES_F32,
      kvBytesPer1000Tokens: kvBytes(config.language, 1000, BYTES_F32),
    },
  };
}

const WORST_SHOWN = 5;

/** What a converted model was made from, how it is stored, and which matrices lost most. */
function conversionFacts({ format, source, weights, vision, keep, block, tensors }: Manifest) {
  const bytes: Record<string, number> = {};
  for (const { storage, bytes: more } of Object.values(tensors))
    bytes[storage] = (bytes[storage] ?? 0) + more;
  const rounded = Object.entries(tensors).flatMap(([name, { error }]) =>
    error === undefined ? [] : { name, error },
  );
  const worst = (storage: string) =>
    rounded
      .filter(({ name }) => tensors[name]?.storage === storage)
      .sort((a, b) => b.error - a.error)
      .slice(0, WORST_SHOWN);
  return {
    format,
    source,
    weights,
    vision,
    keep,
    block,
    bytes,
    worst: { int4: worst("int4"), int8: worst("int8") },
  };
}

/** Sizes of the blocks that int4 matrices really have: not all can have those that were asked for. */
function int4Blocks(tensors: ReadonlyMap<string, StoredTensor>): number[] {
  const blocks = new Set<number>();
  for (const [name, { shape }] of tensors) {
    const part = partOf(name);
    if (part?.storage === "int4" && !part.isScales) blocks.add(blockOfShape(shape) as Int4Block);
  }
  return [...blocks].sort((a, b) => a - b);
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
  converted,
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
    ["weights", `${byteCount(weights.bytes)} in all, of ${weights.dtypes.join(", ")}`],
    ["files", files.join(", ")],
    ...(converted ? conversionRows(converted) : []),
    [
      "memory",
      `about ${byteCount(memory.weightsBytes)} for weights ${memory.weightsAs === "f32" ? "as f32" : "as stored"}, ${byteCount(memory.kvBytesPer1000Tokens)} for 1,000 tokens`,
    ],
  ];
  return rows.map(([label, text]) => `${`${label}:`.padEnd(12)}${text}\n`).join("");
}

function conversionRows(converted: NonNullable<ModelFacts["converted"]>): [string, string][] {
  const { format, source, weights, vision, keep, bytes, worst, int4Blocks, isChecked } = converted;
  const from = source.commit === undefined ? source.name : `${source.name} at ${source.commit}`;
  const kept = keep.length > 0 ? `, kept ${keep.join(", ")}` : "";
  const blocks = ` in blocks of ${int4Blocks.join(" and ")}`;
  const stored = Object.entries(bytes).map(
    ([storage, n]) => `${storage} ${byteCount(n)}${storage === "int4" ? blocks : ""}`,
  );
  const rows: [string, string][] = [
    ["converted", `from ${from}, format ${format}, weights ${weights}, vision ${vision}${kept}`],
    ["stored", `${stored.join(", ")}${isChecked ? "; every hash is right" : ""}`],
  ];
  for (const [storage, matrices] of Object.entries(worst)) {
    const shown = matrices.slice(0, 2).map(({ name, error }) => `${(100 * error).toFixed(2)}% ${name}`);
    if (shown.length > 0) rows.push([`${storage} loss`, `at most ${shown.join(", ")}`]);
  }
  return rows;
}
