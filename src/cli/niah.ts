import { type Command, InvalidArgumentError, Option } from "commander";
import { isAborted } from "../core/errors.ts";
import { count, percent } from "../core/figures.ts";
import { LIMITS } from "../core/limits.ts";
import type { NiahModel } from "../eval/niah-model.ts";
import type { NiahPlan } from "../eval/niah-plan.ts";
import type { NiahPreparation, NiahProgress, NiahRequest } from "../eval/niah-request.ts";
import type { ArmResult, NiahResult } from "../eval/niah-result.ts";
import type { Arm } from "../eval/niah-tasks.ts";
import { NIAH_MOST } from "../eval/seeds.ts";
import type { Compression } from "../model/visual.ts";
import type { OpenModel } from "../node/open.ts";
import { softwareHash } from "../node/versions.ts";
import { NEEDLE_VARIANTS, type NeedleVariant } from "../world/needle-film.ts";
import { GO_ON } from "./failure.ts";
import { chooseModel } from "./model.ts";
import { wholeNumber } from "./numbers.ts";
import { addModelOptions, addOutputOptions, loadOptions, type ModelOptions } from "./options.ts";
import type { Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";
import { byteCount, duration } from "./words.ts";

interface NiahCommandOptions extends ModelOptions {
  out: string;
  needles?: string;
  count?: number;
  frames: number[];
  depths: number[];
  variant: NeedleVariant;
  distractors: number;
  heldOut?: boolean;
  seed: number;
  compress?: `${Compression}`;
  baselines: Arm[];
  baselineFrames: number;
  baselineModel?: string;
  maxTokens: number;
  plan?: boolean;
}

const FRAMES = [100, 200, 400, 600, 800, 1000, 1200, 1400, 1600];
const DEPTHS = Array.from({ length: 11 }, (_, i) => i / 10);

const NOTES = `
A picture, the needle, is put between the frames of a long film, the haystack, and the model is asked about it. Every
length of film is asked with the needle at every depth, from 0, the first frame, to 1, the last. Without files, films
and needles are drawn: cards in the miniature world that oryx-tiny is trained on.

A folder of needles has images and, beside them, JSON files:
  { "image": "sign.jpg", "question": "What does the sign say?", "answer": "No swimming" }

Baselines: uniform, the same questions with only --baseline-frames frames of each film; needle, the needle alone; text,
nothing at all; and with --baseline-model another model that sees every frame.

The folder of --out gets niah.json, niah.svg, niah.png and niah.html. A test that was stopped goes on where it was; more
depths or needles keep what has been asked, and of drawn films more lengths do too.

Examples:
  oryx niah
  oryx niah --plan
  oryx niah film1.mp4 film2.mp4 --needles needles/ --frames 128,256,512
  oryx niah --baseline-model runs/frames32/model --out docs/niah`;

/** `oryx niah [films...]` */
export function registerNiah(program: Command, shell: Shell): void {
  const command = program
    .command("niah")
    .summary("hide pictures in long films and ask about them")
    .description(
      "Needle in a haystack: how often a model finds a picture in a long film, by length and depth.",
    )
    .argument("[films...]", "videos to hide needles in (default: drawn films)");
  command.optionsGroup("Test:");
  command
    .option("--out <dir>", "where answers, figure and report go", "niah")
    .option("--frames <list>", "lengths of the films, in frames", frames, FRAMES)
    .option("--depths <list>", "places of the needle, from 0 to 1", depths, DEPTHS)
    .option("--needles <dir>", "folder of needles (default: drawn cards)")
    .option(
      "--count <n>",
      "needles in every cell: drawn cards (default: 10), or the first ones of the folder (default: all)",
      wholeNumber(1, NIAH_MOST.count),
    )
    .addOption(
      new Option("--variant <name>", "of drawn cards: one, two that must both be read, or some to count")
        .choices([...NEEDLE_VARIANTS])
        .default("single"),
    )
    .option(
      "--distractors <n>",
      "other cards, or pictures, that resemble the needle",
      wholeNumber(0, NIAH_MOST.distractors),
      0,
    )
    .option("--held-out", "cards show only what training never showed together")
    .option("--seed <n>", "another number draws other films and cards", wholeNumber(0, NIAH_MOST.seed), 0)
    .addOption(
      new Option(
        "--compress <k>",
        "side of the regions that become one token (default: as in `ask`)",
      ).choices(["1", "2", "4"]),
    )
    .option("--max-tokens <n>", "length of an answer, at most", wholeNumber(1, LIMITS.maxPositions), 16)
    .option("--plan", "tell what there is to do, and do nothing");
  command.optionsGroup("Baselines:");
  command
    .option("--baselines <names>", "uniform, needle, text, with commas between them, or none", baselines, [
      "uniform",
      "needle",
      "text",
    ])
    .option("--baseline-frames <n>", "frames of `uniform`", wholeNumber(1, LIMITS.framesPerVideo), 32)
    .option("--baseline-model <where>", "folder, or ORG/NAME of a pulled model, which is asked the same");
  addModelOptions(command);
  addOutputOptions(command, "print what was found as one JSON object");
  command
    .addHelpText("after", shell.helpNotes(NOTES))
    .action((films: string[], options: NiahCommandOptions) => niah(films, options, shell));
}

async function niah(films: readonly string[], options: NiahCommandOptions, shell: Shell): Promise<void> {
  const { planNiah, runNiah } = await import("../eval/niah.ts");
  const { writeNiah } = await import("../eval/niah-files.ts");
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  try {
    await withModels(options, shell, line, async (models) => {
      const onPreparation = (preparation: NiahPreparation) =>
        line.show(preparationWords(preparation, films), true);
      const request = { ...requestOf(films, options, models), signal: shell.signal, onPreparation };
      if (options.plan) {
        const plan = await planNiah(request);
        line.clear();
        if (shell.json) shell.printJson(plan);
        else shell.print(`${planWords(plan)}\n`);
        return;
      }
      const onPlan = (plan: NiahPlan) => {
        line.clear();
        shell.note(planWords(plan));
      };
      const onProgress = (progress: NiahProgress) => line.show(progressWords(progress));
      await runNiah({ ...request, onPlan, onProgress }, async ({ result }, subjects) => {
        line.show("drawing", true);
        const files = await writeNiah(options.out, result, subjects);
        line.clear();
        const { answers: _, ...told } = result;
        if (shell.json) shell.printJson({ ...told, files });
        else shell.print(`${resultWords(result)}\n${Object.values(files).join("\n")}\n`);
      });
    });
  } catch (error) {
    line.clear();
    if (isAborted(error) && !options.plan) shell.note(GO_ON);
    throw error;
  } finally {
    line.clear();
  }
}

function requestOf(
  films: readonly string[],
  options: NiahCommandOptions,
  models: NiahRequest["models"],
): NiahRequest {
  const { needles, count, seed, variant, distractors, heldOut, frames, depths, baselineFrames } = options;
  const { maxTokens, compress, out } = options;
  const source = { films, needles, count, seed, variant, distractors, heldOut: heldOut === true };
  const others: Arm[] = models[1] ? ["other"] : [];
  const asked = { frames, depths, baselines: [...options.baselines, ...others], baselineFrames, maxTokens };
  const k = compress === undefined ? undefined : (Number(compress) as Compression);
  return { models, source, options: { ...asked, compress: k }, out, software: softwareHash() };
}

/** Loads the model, and the baseline's, for as long as they are used. */
async function withModels(
  options: NiahCommandOptions,
  shell: Shell,
  line: StatusLine,
  use: (models: NiahRequest["models"]) => Promise<void>,
): Promise<void> {
  const { niahModel } = await import("../eval/niah-model.ts");
  const { openModel } = await import("../node/open.ts");
  const { resolveModel } = await import("../net/hub.ts");
  const { hubSettings } = await import("../net/settings.ts");
  const { contextTokens, ...load } = loadOptions(options);
  const { cacheDir } = hubSettings(shell.io.env);
  const opened: OpenModel[] = [];
  const open = async (asked: string | undefined): Promise<NiahModel> => {
    const { name, where } = chooseModel(asked, shell.io.env);
    line.show(`loading ${name}`, true);
    const model = await openModel(await resolveModel(where, { cacheDir }), load);
    opened.push(model);
    const { randomWeights } = model.checkpoint.config;
    line.clear();
    if (randomWeights) shell.note(`note: the weights of ${name} are random: its answers mean nothing`);
    line.show(`reading ${name}`, true); // all of it is hashed
    return niahModel(name, model, contextTokens, shell.signal);
  };
  try {
    const model = await open(options.model);
    const { baselineModel } = options;
    await use(baselineModel === undefined ? [model] : [model, await open(baselineModel)]);
  } finally {
    for (const model of opened) await model.close();
  }
}

// --------------------------------------------------------------------------------------------------- words

function planWords({
  runs,
  done,
  questions,
  tokens,
  unsharedTokens,
  frames,
  bytes,
  seconds,
}: NiahPlan): string {
  const before = done > 0 ? `, ${count(done)} of them done` : "";
  const lines = [`${count(runs)} runs${before}; ${count(questions)} questions left`];
  if (runs > done) {
    const saved = `${count(tokens)} tokens to read, ${count(unsharedTokens)} without what films share`;
    lines.push(
      `${count(frames)} frames to encode, ${saved}`,
      `${byteCount(bytes)} of memory; about ${duration(seconds)}`,
    );
  }
  return lines.join("\n");
}

function preparationWords(preparation: NiahPreparation, films: readonly string[]): string {
  if (preparation === "speed") return "measuring speed";
  return films.length > 0 ? "opening films" : "drawing films";
}

function progressWords({ stage, done, total, leftS }: NiahProgress): string {
  const what = stage === "encode" ? "frames encoded" : "runs of this film asked";
  return `${count(done)} of ${count(total)} ${what} · ${duration(leftS)} left`;
}

const NAMES: Readonly<Record<Arm, string>> = {
  all: "all frames",
  other: "baseline model, all frames",
  uniform: "few frames",
  needle: "needle alone",
  text: "nothing shown",
};

const resultWords = ({ arms }: NiahResult): string => arms.map(armWords).join("\n");

function armWords({ arm, rate, low, high, least, forcedRate, cells }: ArmResult): string {
  const worst = cells.length > 0 ? `, worst cell ${percent(least)}` : "";
  const range = `(${percent(low)} to ${percent(high)})`;
  return `${NAMES[arm]}: ${percent(rate)} ${range}${worst}; token by token ${percent(forcedRate)}`;
}

// ------------------------------------------------------------------------------------------------- parsers

const numbers = (text: string): number[] =>
  text.split(",").map((part) => (/^\d+(\.\d+)?$/.test(part) ? Number(part) : Number.NaN));

function frames(text: string): number[] {
  const all = numbers(text);
  const isGood = (n: number) => Number.isInteger(n) && n >= 1 && n <= LIMITS.framesPerVideo;
  if (all.every(isGood)) return sortedOnce(all);
  throw new InvalidArgumentError(
    `Give whole numbers up to ${LIMITS.framesPerVideo}, with commas between them`,
  );
}

function depths(text: string): number[] {
  const all = numbers(text);
  if (all.every((depth) => depth >= 0 && depth <= 1)) return sortedOnce(all);
  throw new InvalidArgumentError("Give numbers from 0 to 1, with commas between them");
}

const sortedOnce = (all: readonly number[]): number[] => [...new Set(all)].sort((one, two) => one - two);

function baselines(text: string): Arm[] {
  const known: readonly Arm[] = ["uniform", "needle", "text"];
  if (text === "none") return [];
  const names = text.split(",");
  if (names.every((name) => known.some((arm) => arm === name)))
    return known.filter((arm) => names.includes(arm));
  throw new InvalidArgumentError(`Give some of ${known.join(", ")}, or none`);
}
