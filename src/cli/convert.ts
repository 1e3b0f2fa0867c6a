import { type Command, Option } from "commander";
import type { Conversion, ConvertOptions, ConvertProgress } from "../convert/convert.ts";
import { isAborted } from "../core/errors.ts";
import { count, percent } from "../core/figures.ts";
import { LIMITS } from "../core/limits.ts";
import { hubSettings } from "../net/settings.ts";
import { VISION_MODES, type VisionMode, WEIGHT_MODES, type WeightMode } from "../weights/converted.ts";
import type { Int4Block } from "../weights/quantise.ts";
import { GO_ON } from "./failure.ts";
import { wholeNumber } from "./numbers.ts";
import { addOutputOptions, blockOption } from "./options.ts";
import type { Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";
import { byteCount, timeLeft } from "./words.ts";

interface ConvertCommandOptions {
  weights: WeightMode;
  vision: VisionMode;
  block?: Int4Block;
  keep?: string[];
  threads?: number;
  visionTower?: string;
  force?: boolean;
}

const NOTES = `
Weights of the language model:
  auto      int8 and int4 for the layers: prompts are read with int8, answers
            written with int4; embedding and head int4
  q4        int4 for all of them: the smallest
  w8        int8, and the embedding as it is: the most exact of the integers
  f16, f32  floating point

Answers are written as fast as weights are read: with --block 64 a sixth less of
int4 is read than with 32, with 128 a quarter less; and rounding loses more of
a matrix, 9.1 and 9.7% instead of 8.5%.

What was interrupted goes on where it stopped when the same command is given again.

Example:
  oryx convert ORG/NAME oryx-q4 --weights q4
  oryx ask --model oryx-q4 photo.jpg "What is it?"`;

/** `oryx convert SRC OUT` */
export function registerConvert(program: Command, shell: Shell): void {
  const command = program
    .command("convert")
    .summary("make a smaller, faster copy of a model")
    .description(
      "Convert a model as published into one with integer weights, which is smaller and answers faster.",
    )
    .argument("<source>", "folder of a model, or ORG/NAME of a pulled one")
    .argument("<out>", "folder to make")
    .addOption(
      new Option("--weights <type>", "weights of the language model").choices(WEIGHT_MODES).default("auto"),
    )
    .addOption(
      new Option("--vision <type>", "weights of the vision tower; f32: as they are")
        .choices(VISION_MODES)
        .default("w8"),
    )
    .addOption(blockOption())
    .option(
      "--keep <pattern>",
      'names of matrices that stay as they are: "model.layers.0.*"; may be given several times',
      (pattern: string, before: readonly string[] = []) => [...before, pattern],
    )
    .option(
      "--threads <n>",
      "threads (default: the machine's cores, at most 8)",
      wholeNumber(1, LIMITS.threads),
    )
    .option(
      "--vision-tower <path>",
      "the vision tower's file or folder, when it is not in the model's folder",
    )
    .option("--force", "replace a converted model that is there already");
  addOutputOptions(command, "print folder, types, bytes and rounding errors as one JSON object");
  command
    .addHelpText("after", shell.helpNotes(NOTES))
    .action((source: string, out: string, options: ConvertCommandOptions) =>
      run(source, out, options, shell),
    );
}

async function run(source: string, out: string, options: ConvertCommandOptions, shell: Shell): Promise<void> {
  const { resolveModel } = await import("../net/hub.ts");
  const { convert } = await import("../convert/convert.ts");
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  const onResume: ConvertOptions["onResume"] = ({ isAnew, tensorsBefore }) => {
    line.clear();
    if (isAnew)
      shell.note("note: what an earlier run left was of another source or other options: starting anew");
    if (tensorsBefore > 0) shell.note(`going on after ${count(tensorsBefore)} tensors of an earlier run`);
  };
  line.show(`opening ${source}`, true);
  try {
    const dir = await resolveModel(source, hubSettings(shell.io.env));
    const { keep = [], ...given } = options;
    const asked = { ...given, keep, signal: shell.signal, onResume, onProgress: progress(line) };
    const conversion = await convert(dir, out, asked);
    line.clear();
    tell(conversion, shell);
  } catch (error) {
    line.clear();
    if (isAborted(error)) shell.note(GO_ON);
    throw error;
  }
}

function progress(line: StatusLine): (progress: ConvertProgress) => void {
  const startMs = performance.now();
  return ({ bytesDone, bytesTotal, bytesBefore }) => {
    const left = timeLeft(bytesDone - bytesBefore, bytesTotal - bytesBefore, performance.now() - startMs);
    line.show(`converting: ${byteCount(bytesDone)} of ${byteCount(bytesTotal)}${left}`);
  };
}

const MOST_SHOWN = 10;

function tell({ path, manifest, bytes, notes, coarse, resumed }: Conversion, shell: Shell): void {
  const { source, weights, vision, keep, block } = manifest;
  for (const note of notes.slice(0, MOST_SHOWN)) shell.note(`note: ${note}`);
  if (notes.length > MOST_SHOWN) shell.note(`note: and ${notes.length - MOST_SHOWN} more such matrices`);
  for (const { name, error } of coarse.slice(0, MOST_SHOWN)) {
    shell.note(`note: ${name} loses ${percent(error)} to rounding; --keep would keep it as it is`);
  }
  if (coarse.length > MOST_SHOWN) shell.note(`note: so do ${coarse.length - MOST_SHOWN} more; see oryx info`);
  const weightBytes = Object.values(manifest.tensors).reduce((sum, tensor) => sum + tensor.bytes, 0);
  const sizes = `${byteCount(weightBytes)} of weights, ${byteCount(bytes)} with the tokenizer and all`;
  shell.note(`converted: ${sizes}; weights ${weights}, vision ${vision}`);
  if (shell.json)
    shell.printJson({ path, source, weights, vision, keep, block, bytes, notes, coarse, resumed });
  else shell.print(`${path}\n`);
}
