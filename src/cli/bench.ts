import { type Command, InvalidArgumentError, Option } from "commander";
import { LANGUAGE_SHAPES, type LanguageShape, ON_PAPER } from "../bench/shapes.ts";
import { WEIGHT_TYPES, type WeightType } from "../bench/weights.ts";
import { throwIfAborted } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { PAPER } from "../model/visual.ts";
import type { Device } from "../runtime/session.ts";
import type { Int4Block } from "../weights/quantise.ts";
import { wholeNumber } from "./numbers.ts";
import { addOutputOptions, blockOption, threadsOption } from "./options.ts";
import type { Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";

interface RuntimeChoice {
  device?: Device;
  threads?: number;
}

interface LlmCommandOptions extends RuntimeChoice {
  shape: LanguageShape;
  weights: WeightType;
  block?: Int4Block;
  prompt: number[];
  slots: number[];
  contexts: number[];
  steps: number;
}

interface AskCommandOptions extends RuntimeChoice {
  shape: LanguageShape;
  weights: WeightType;
  block?: Int4Block;
  tokens: number;
}

interface VisionCommandOptions extends RuntimeChoice {
  weights: WeightType;
  batch: number[];
  side: number;
}

const NOTES = `
Shapes are those of published models, weights are random: nothing is downloaded.

Examples:
  oryx bench llm --shape qwen2.5-0.5b --weights auto --prompt 128,512,2048
  oryx bench llm --shape yi-34b          (on paper: its size and cost)
  oryx bench vision --weights w8 --batch 1,4
  oryx bench ask --shape qwen2.5-7b --weights q4 photo.jpg
  oryx bench video film.mp4`;

/** `oryx bench llm|vision|ask|video` */
export function registerBench(program: Command, shell: Shell): void {
  const bench = program
    .command("bench")
    .summary("measure speed and memory on this machine")
    .description("Measure speed and memory on this machine.")
    .addHelpText("after", shell.helpNotes(NOTES));
  registerLlm(bench, shell);
  registerVision(bench, shell);
  registerAsk(bench, shell);
  registerVideo(bench, shell);
}

function registerLlm(bench: Command, shell: Shell): void {
  const command = bench
    .command("llm")
    .description("Prefill and decode speed of a language model, and whether a step copies its cache.")
    .addOption(shapeOption(LANGUAGE_SHAPES))
    .addOption(weightsOption(WEIGHT_TYPES))
    .addOption(blockOption())
    .addOption(countsOption("--prompt <tokens>", "lengths of prompts", 1, [128, 512]))
    .addOption(
      countsOption("--slots <tokens>", "capacities of the cache to compare, equally full", 64, [512, 4096]),
    )
    .addOption(countsOption("--contexts <tokens>", "fillings of a cache to compare", 1, [512, 4096]))
    .option("--steps <n>", "decode steps of each setting", wholeNumber(1, 100_000), 24);
  addRuntimeOptions(command);
  command.action(
    async ({
      prompt: prompts,
      shape,
      weights,
      block,
      slots,
      contexts,
      steps,
      ...rest
    }: LlmCommandOptions) => {
      if (ON_PAPER.includes(shape)) {
        const { benchOnPaper, paperTable } = await import("../bench/paper.ts");
        return report(shell, async () => benchOnPaper(shape, prompts, contexts, block), paperTable);
      }
      const { benchLlm, llmTable } = await import("../bench/llm.ts");
      const options = { shape, weights, block, prompts, slots, contexts, steps, ...runtimeOptions(rest) };
      await report(shell, (onStep) => benchLlm({ ...options, onStep }), llmTable);
    },
  );
}

function registerVision(bench: Command, shell: Shell): void {
  const command = bench
    .command("vision")
    .description("Frames a second through OryxViT, the compressor and the projector.")
    .addOption(weightsOption(["f32", "bf16", "w8"]))
    .addOption(countsOption("--batch <frames>", "frames in one run", 1, [1, 4], 256))
    .option("--side <pixels>", "side of a frame, a multiple of 32", frameSide, 448);
  addRuntimeOptions(command);
  command.action(async ({ batch: batches, weights, side, ...rest }: VisionCommandOptions) => {
    const { benchVision, visionTable } = await import("../bench/vision.ts");
    const options = { batches, weights, side, ...runtimeOptions(rest) };
    await report(shell, (onStep) => benchVision({ ...options, onStep }), visionTable);
  });
}

function registerAsk(bench: Command, shell: Shell): void {
  const runnable = LANGUAGE_SHAPES.filter((shape) => !ON_PAPER.includes(shape));
  const command = bench
    .command("ask")
    .description("A whole request: from images and videos to an answer's first token and its last.")
    .argument("[media...]", "images and videos; none: a picture of 1280x720 that is made up")
    .addOption(shapeOption(runnable))
    .addOption(weightsOption(WEIGHT_TYPES))
    .addOption(blockOption())
    .option("--tokens <n>", "tokens of the answer", wholeNumber(1, 10_000), 32);
  addRuntimeOptions(command);
  command.action(async (media: string[], { shape, weights, block, tokens, ...rest }: AskCommandOptions) => {
    const { benchAsk, askTable } = await import("../bench/ask.ts");
    const size = { width: 1280, height: 720 };
    const options = {
      shape,
      weights,
      block,
      tokens,
      media,
      size,
      signal: shell.signal,
      ...runtimeOptions(rest),
    };
    await report(shell, (onStep) => benchAsk({ ...options, onStep }), askTable);
  });
}

function registerVideo(bench: Command, shell: Shell): void {
  const command = bench
    .command("video")
    .description("Time from a video file to the frames that a question would see.")
    .argument("<file>", "a video")
    .option(
      "--max-frames <n>",
      "frames to look at, at most",
      wholeNumber(1, LIMITS.framesPerVideo),
      PAPER.videoFrames,
    );
  addOutputOptions(command, "print the figures as one JSON object");
  command.action(async (file: string, { maxFrames }: { maxFrames: number }) => {
    const { benchVideo, videoTable } = await import("../bench/video.ts");
    const { signal } = shell;
    await report(shell, (onStep) => benchVideo({ file, maxFrames, signal, onStep }), videoTable);
  });
}

/** Runs a benchmark with its progress shown, and prints what it found. */
async function report<R>(
  shell: Shell,
  run: (onStep: (step: string) => void) => Promise<R>,
  table: (report: R) => string,
): Promise<void> {
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  try {
    // Every benchmark tells each of its steps: there it can end.
    const figures = await run((step) => {
      throwIfAborted(shell.signal);
      line.show(step);
    });
    line.clear();
    if (shell.json) shell.printJson(figures);
    else shell.print(`${table(figures)}\n`);
  } finally {
    line.clear();
  }
}

function addRuntimeOptions(command: Command): void {
  command
    .addOption(new Option("--device <name>", "where to compute (default: cpu)").choices(["cpu", "webgpu"]))
    .addOption(threadsOption());
  addOutputOptions(command, "print the figures as one JSON object");
}

function runtimeOptions({ device, threads }: RuntimeChoice) {
  return { ...(device && { device }), ...(threads && { threads }) };
}

function shapeOption(shapes: readonly LanguageShape[]): Option {
  return new Option("--shape <name>", "whose shape").choices(shapes).default("qwen2.5-0.5b");
}

function weightsOption(types: readonly WeightType[]): Option {
  return new Option("--weights <type>", "how weights are stored").choices(types).default("f32");
}

/** An option that takes numbers with commas between them, and whose help shows them so. */
function countsOption(
  flags: string,
  description: string,
  from: number,
  usual: readonly number[],
  to = 131_072,
): Option {
  return new Option(flags, description).argParser(counts(from, to)).default(usual, usual.join(","));
}

/** Numbers with commas between them. */
function counts(from: number, to: number): (text: string) => number[] {
  const one = wholeNumber(from, to);
  return (text) => {
    const parts = text.split(",");
    if (parts.length > 16) throw new InvalidArgumentError("Give at most 16 numbers");
    return parts.map(one);
  };
}

function frameSide(text: string): number {
  const side = wholeNumber(32, 1536)(text);
  if (side % 32 === 0) return side;
  throw new InvalidArgumentError("Give a multiple of 32");
}
