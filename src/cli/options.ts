import { type Command, InvalidArgumentError, Option } from "commander";
import { LIMITS } from "../core/limits.ts";
import type { BudgetOptions, GenerationOptions, VisualOptions } from "../engine/request.ts";
import { SAMPLING_RANGES } from "../engine/sampler.ts";
import type { KvType } from "../model/oryx.ts";
import type { Compression } from "../model/visual.ts";
import type { LoadOptions } from "../node/oryx.ts";
import type { Device } from "../runtime/session.ts";
import { INT4_BLOCKS, type Int4Block } from "../weights/quantise.ts";
import { number, wholeNumber } from "./numbers.ts";

/** Which model, and how it is computed. */
export interface ModelOptions {
  model?: string;
  visionTower?: string;
  device?: Device;
  threads?: number;
  context?: number;
  kv?: KvType;
}

/** Whether what is made of images and videos is kept. */
export interface CacheOption {
  /** False after `--no-cache`. */
  cache?: boolean;
}

/** What is asked, and how it is answered. */
export interface TurnOptions {
  system?: string;
  frames?: boolean;
  maxFrames?: number;
  fps?: number;
  compress?: Compression;
  size?: number;
  budgetTokens?: number;
  budgetSeconds?: number;
  maxTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  repetitionPenalty?: number;
  seed?: number;
  stop?: string[];
}

export function addModelOptions(command: Command): void {
  command.optionsGroup("Model:");
  command
    .option("--model <where>", "folder, or ORG/NAME of a pulled model (default: ORYX_MODEL)")
    .option(
      "--vision-tower <path>",
      "the vision tower's file or folder, when it is not in the model's folder",
    )
    .addOption(new Option("--device <name>", "where to compute (default: cpu)").choices(["cpu", "webgpu"]))
    .addOption(threadsOption())
    .option(
      "--context <tokens>",
      "tokens that prompt and answer may take (default and most: what the model was made for)",
      wholeNumber(1, LIMITS.maxPositions),
    )
    .addOption(
      new Option(
        "--kv <type>",
        "how what was read is kept: f16 takes half the memory (default: f32)",
      ).choices(["f32", "f16"]),
    );
}

/** Of verbs that ask about the user's own files, behind the options of the model. */
export function addCacheOption(command: Command): void {
  command.option(
    "--no-cache",
    "keep nothing of images and videos for further questions, and use nothing kept (oryx cache --help)",
  );
}

export function threadsOption(): Option {
  const option = new Option("--threads <n>", "threads of the CPU (default: its physical cores)");
  return option.argParser(wholeNumber(1, LIMITS.threads));
}

/** Of int4 weights: how many share a scale. */
export function blockOption(): Option {
  const description =
    "4-bit weights that share a scale: 32, 64 or 128; more is faster and less exact (default: 32)";
  return new Option("--block <n>", description).argParser(block);
}

/** How images and videos are looked at. */
export function addFrameOptions(command: Command): void {
  command.optionsGroup("Video:");
  command
    .option(
      "--max-frames <n>",
      `frames to look at, at most; over 64 is a long video (default: 64, to summarize or list steps 256; most: ${LIMITS.framesPerVideo})`,
      wholeNumber(1, LIMITS.framesPerVideo),
    )
    .option("--fps <rate>", "frames a second (default: 1)", number({ from: 0, above: true, to: 1000 }))
    .option(
      "--compress <k>",
      "side of the regions that become one token: 1, 2 or 4 (default: 1 images, 2 videos, 4 long videos)",
      compression,
    )
    .option(
      "--size <WxH>",
      "pixels of an encoded frame or image, at most: in their own shape, with the area of WxH (default: the model's most)",
      area,
    );
}

/** What a request may take. */
export function addBudgetOptions(command: Command): void {
  command.optionsGroup("Budget (what is not fixed above gives way, as little as possible):");
  command
    .option(
      "--budget-tokens <n>",
      "tokens that the prompt may take (default: what the context leaves beside the answer)",
      wholeNumber(1, LIMITS.maxPositions),
    )
    .option(
      "--budget-seconds <s>",
      "seconds until the first word, by this machine's speed, which is measured once",
      number({ from: 0, above: true, to: 1e6 }),
    );
}

export function addTurnOptions(command: Command): void {
  addFrameOptions(command);
  command.option(
    "--frames",
    "the images, or those of a folder, are frames of one video in order, --fps of them a second",
  );
  addBudgetOptions(command);
  command.optionsGroup("Answer:");
  command
    .option("--system <text>", "the system prompt (default: You are a helpful assistant.)")
    .option(
      "--max-tokens <n>",
      "length of the answer, at most (default: 1024)",
      wholeNumber(1, LIMITS.maxPositions),
    )
    .option(
      "--temperature <t>",
      "0: the likeliest token, always; above: chance (default: 0)",
      number({ from: SAMPLING_RANGES.temperature[0], to: SAMPLING_RANGES.temperature[1] }),
    )
    .option(
      "--top-k <n>",
      "with chance: only the n likeliest tokens; 0: all",
      wholeNumber(0, SAMPLING_RANGES.topK[1]),
    )
    .option(
      "--top-p <p>",
      "with chance: only the likeliest tokens that make up p",
      number({ from: 0, above: true, to: SAMPLING_RANGES.topP[1] }),
    )
    .option(
      "--repetition-penalty <x>",
      "above 1: says the same less often",
      number({ from: SAMPLING_RANGES.repetitionPenalty[0], to: SAMPLING_RANGES.repetitionPenalty[1] }),
    )
    .option(
      "--seed <n>",
      "of chance: the same seed, the same answer (default: 0)",
      wholeNumber(0, Number.MAX_SAFE_INTEGER),
    )
    .option("--stop <text>", "ends the answer, and is left out of it; may be given several times", stopText);
}

export function addOutputOptions(command: Command, json: string): void {
  command.optionsGroup("Output:");
  command
    .option("--json", json)
    .option("--quiet", "no progress and no notes on stderr, only errors")
    .option("--debug", "print an error's stack and causes");
}

export function loadOptions({ device, threads, context, kv, visionTower }: ModelOptions): LoadOptions {
  return given({ device, threads, contextTokens: context, kv, visionTower });
}

export function turnOptions(options: TurnOptions): VisualOptions & BudgetOptions & GenerationOptions {
  const { size, budgetTokens, budgetSeconds } = options;
  const { maxFrames, fps, compress, maxTokens, temperature, topK, topP, repetitionPenalty, seed, stop } =
    options;
  return given({
    maxFrames,
    fps,
    compress,
    frameArea: size,
    budgetTokens,
    budgetSeconds,
    maxTokens,
    temperature,
    topK,
    topP,
    repetitionPenalty,
    seed,
    stop,
  });
}

/** The fields that have a value. */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function compression(text: string): Compression {
  if (text === "1" || text === "2" || text === "4") return Number(text) as Compression;
  throw new InvalidArgumentError("Give 1, 2 or 4");
}

/** "448x256" -> its pixels */
function area(text: string): number {
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(text) ?? [];
  const pixels = Number(width) * Number(height);
  if (pixels > 0) return pixels;
  throw new InvalidArgumentError("Give a size like 448x256");
}

function block(text: string): Int4Block {
  const found = INT4_BLOCKS.find((size) => `${size}` === text);
  if (found !== undefined) return found;
  throw new InvalidArgumentError("Give 32, 64 or 128");
}

function stopText(text: string, before: readonly string[] = []): string[] {
  if (text === "") throw new InvalidArgumentError("Give a text");
  if (text.length > LIMITS.stopStringChars)
    throw new InvalidArgumentError(`Give at most ${LIMITS.stopStringChars} characters`);
  if (before.length === LIMITS.stopStrings)
    throw new InvalidArgumentError(`Give at most ${LIMITS.stopStrings} of them`);
  return [...before, text];
}
