import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Command, Option } from "commander";
import { isAborted } from "../core/errors.ts";
import { count } from "../core/figures.ts";
import { LIMITS } from "../core/limits.ts";
import { type AskSettings, CHOICES, type Choice, WORDINGS, type Wording } from "../eval/sets/ask.ts";
import type { SetEvaluation, SetProgress } from "../eval/sets/evaluate.ts";
import { LAYOUTS } from "../eval/sets/layouts.ts";
import type { SetPlan } from "../eval/sets/plan.ts";
import type { QuestionSet } from "../eval/sets/read.ts";
import { softwareHash } from "../node/versions.ts";
import { GO_ON } from "./failure.ts";
import { type ChosenModel, loadChosen } from "./model.ts";
import { wholeNumber } from "./numbers.ts";
import {
  addBudgetOptions,
  addCacheOption,
  addFrameOptions,
  addModelOptions,
  addOutputOptions,
  type ModelOptions,
  type TurnOptions,
  turnOptions,
} from "./options.ts";
import type { Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";
import { timeLeft } from "./words.ts";

type LookOptions = Pick<
  TurnOptions,
  "maxFrames" | "fps" | "compress" | "size" | "budgetTokens" | "budgetSeconds"
>;

interface EvalSetOptions extends ModelOptions, LookOptions {
  media?: string;
  format?: string;
  limit?: number;
  shuffleSeed?: number;
  unscored?: boolean;
  choice: Choice;
  wording: Wording;
  instruction?: string;
  openInstruction?: string;
  system?: string;
  maxTokens: number;
  plan?: boolean;
  out?: string;
}

const NOTES = `
Files of questions are read as published: Video-MME, MLVU, MVBench, NExT-QA, Perception Test, EgoSchema and ScanQA, as
JSON, JSON lines or CSV, or of one's own as JSON lines:
  {"media": "clip.mp4", "question": "What opens?", "options": ["a door", "a box"], "answer": "B", "category": "what"}
  {"media": ["a.jpg", "b.jpg"], "question": "What has changed?", "answers": ["the lamp", "a lamp"]}

Media are looked for below --media by path, name or id, with any usual extension; questions whose media are missing are
named and left out. Multiple choices are decided by how likely each option's letter is, or with --choice text by what
the model says. Answers in words are scored by exact match, F1, ROUGE-L and CIDEr. The folder of --out gets every answer
with its plan (answers.jsonl), the scores (scores.json) and the table (table.md); run again, it goes on where it was.

Examples:
  oryx eval questions.jsonl
  oryx eval MVBench/json --media MVBench/video --out runs/mvbench --max-frames 32
  oryx eval videomme.json --media videos --limit 100 --shuffle-seed 1 --plan`;

/** `oryx eval FILE|DIR`: what `eval` does when no other of its verbs is named. */
export function registerEvalSet(evaluate: Command, shell: Shell): void {
  const command = evaluate
    .command("set <path>", { isDefault: true })
    .summary("a file or folder of questions; the word set may be left out")
    .description("Questions about images and videos, from a file, or from the files of a folder.")
    .usage("[options] <file|folder>");
  command.optionsGroup("Questions:");
  command
    .option("--media <dir>", "where images and videos are (default: the folder of the questions)")
    .addOption(
      new Option("--format <name>", "layout of the questions (default: as they look)").choices(
        LAYOUTS.map(({ name }) => name),
      ),
    )
    .option("--limit <n>", "so many questions at most", wholeNumber(1, LIMITS.questionsPerSet))
    .option("--shuffle-seed <n>", "take them by chance", wholeNumber(0, Number.MAX_SAFE_INTEGER))
    .option("--unscored", "ask those as well whose right answer is not known")
    .option("--plan", "print what would be asked, and stop");
  command.optionsGroup("Answers:");
  command
    .addOption(
      new Option("--choice <how>", "how an option is found out").choices(CHOICES).default("likelihood"),
    )
    .addOption(
      new Option(
        "--wording <name>",
        "options below the question with an instruction, as published, or as ask --task mcq has them",
      )
        .choices(WORDINGS)
        .default("published"),
    )
    .option("--instruction <text>", "what stands below the options, where the wording is the published one")
    .option("--open-instruction <text>", "what stands below a question without options")
    .option("--system <text>", "the system prompt (default: You are a helpful assistant.)")
    .option(
      "--max-tokens <n>",
      "length of an answer in words, at most",
      wholeNumber(1, LIMITS.maxPositions),
      128,
    );
  addFrameOptions(command);
  addBudgetOptions(command);
  addModelOptions(command);
  addCacheOption(command);
  addOutputOptions(command, "print plan and scores as one JSON object");
  command
    .option("--out <dir>", "where answers and scores go; answers that are there are not asked again")
    .addHelpText("after", shell.helpNotes(NOTES))
    .action((path: string, options: EvalSetOptions) => evalSet(path, options, shell));
}

async function evalSet(path: string, options: EvalSetOptions, shell: Shell): Promise<void> {
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  try {
    const work = await prepared(path, options, shell, line);
    if (options.plan) {
      tellPlan(work, shell);
      return;
    }
    for (const sentence of work.lines) shell.note(sentence);
    const { out } = options;
    if (out === undefined) return await asked(work, options, shell, line);
    const { makeFolder, onDisk } = await import("../files/disk.ts");
    const { withLock } = await import("../files/lock.ts");
    await onDisk(`make the folder ${out}`, () => makeFolder(out));
    const lock = { held: `another evaluation writes to ${out}`, signal: shell.signal };
    await withLock(join(out, "answers.lock"), lock, () => asked(work, options, shell, line));
  } catch (error) {
    line.clear();
    if (isAborted(error) && !options.plan) {
      shell.note(options.out === undefined ? "stopped; answers are kept with --out only" : GO_ON);
    }
    throw error;
  } finally {
    line.clear();
  }
}

/** Questions with their media found, and what will be asked of them. */
interface Work {
  set: QuestionSet;
  plan: SetPlan;
  lines: string[];
}

async function prepared(
  path: string,
  { media, format, limit, shuffleSeed, unscored }: EvalSetOptions,
  shell: Shell,
  line: StatusLine,
): Promise<Work> {
  const { readQuestions } = await import("../eval/sets/read.ts");
  const { findMedia } = await import("../eval/sets/media-files.ts");
  const { planSet, requireQuestions } = await import("../eval/sets/plan.ts");
  const { leftOutLines, planLines } = await import("../eval/sets/table.ts");
  const set = await readQuestions(path, format);
  const folder = media ?? set.folder;
  line.show(`looking for media below ${folder}`, true);
  const names = set.questions.flatMap((question) => question.media);
  const files = await findMedia(folder, names, shell.signal);
  const plan = planSet(set.questions, files, { limit, shuffleSeed, unscored });
  line.clear();
  requireQuestions(plan, leftOutLines(set, plan, folder));
  return { set, plan, lines: planLines(set, plan, folder) };
}

function tellPlan({ set, plan, lines }: Work, shell: Shell): void {
  if (shell.json) shell.printJson({ eval: "set", plan: planJson(set, plan) });
  else shell.print(`${lines.join("\n")}\n`);
}

/** Loads the model, asks, and tells the scores. */
async function asked(work: Work, options: EvalSetOptions, shell: Shell, line: StatusLine): Promise<void> {
  const { setAnswerer } = await import("../eval/sets/ask.ts");
  const { AnswerLog } = await import("../eval/sets/answer-log.ts");
  const { evaluateSet } = await import("../eval/sets/evaluate.ts");
  const settings = askSettings(options);
  const model = await loadChosen(options, shell, line);
  try {
    const { out } = options;
    const made = { model: await identityOf(model, options), software: softwareHash() };
    const identity = { ...made, ...settings };
    const log = out === undefined ? undefined : await AnswerLog.open(join(out, "answers.jsonl"), identity);
    try {
      const onProgress = progress(line);
      const evaluation = await evaluateSet(work.plan, setAnswerer(model.oryx, settings), {
        log,
        signal: shell.signal,
        onProgress,
      });
      line.clear();
      await tell(work, evaluation, settings, model, out, shell);
    } finally {
      await log?.close();
    }
  } finally {
    await model.oryx.close();
  }
}

async function tell(
  { set, plan }: Work,
  evaluation: SetEvaluation,
  settings: AskSettings,
  { name, randomWeights }: ChosenModel,
  out: string | undefined,
  shell: Shell,
): Promise<void> {
  const { outcomeLines, setTable } = await import("../eval/sets/table.ts");
  const { rows, failed, answered, resumed } = evaluation;
  const outcome = { answered: answered.length, resumed, failed, rows };
  const report = { eval: "set", model: name, randomWeights, settings, plan: planJson(set, plan), ...outcome };
  const table = rows.length > 0 ? `${setTable(rows)}\n` : "";
  if (out !== undefined) {
    const { onDisk, replaceFile } = await import("../files/disk.ts");
    await onDisk(`write to ${out}`, async () => {
      await replaceFile(join(out, "scores.json"), `${JSON.stringify(report, null, 1)}\n`);
      await replaceFile(join(out, "table.md"), table);
    });
  }
  if (shell.json) shell.printJson(report);
  else shell.print(table);
  for (const sentence of outcomeLines(evaluation)) shell.note(sentence);
  if (resumed > 0) shell.note(`answers that were there already: ${count(resumed)}`);
}

function askSettings(options: EvalSetOptions): AskSettings {
  const { choice, wording, instruction, openInstruction, system } = options;
  const { maxTokens = options.maxTokens, ...visual } = turnOptions(options);
  return { choice, wording, instruction, openInstruction, system, maxTokens, visual };
}

function planJson({ questions, files, leftOut }: QuestionSet, plan: SetPlan) {
  const { asked, missing, unlabelled, media } = plan;
  return {
    files: files.map(({ path, layout, questions }) => ({ path, format: layout.name, questions })),
    leftOut,
    questions: questions.length,
    asked: asked.length,
    media,
    missing,
    unlabelled,
  };
}

/** Tells a model from others, also from one that was trained on in the same folder, without reading all of it. */
async function identityOf({ oryx }: ChosenModel, { kv, device }: EvalSetOptions): Promise<string> {
  const { config, files } = oryx.checkpoint;
  const parts = await Promise.all(
    [...files].sort().map(async (file) => {
      const { size, mtimeMs } = await stat(file);
      return [basename(file), size, mtimeMs];
    }),
  );
  const text = JSON.stringify([config, parts, oryx.contextTokens, kv ?? "f32", device ?? "cpu"]);
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

function progress(line: StatusLine): (progress: SetProgress) => void {
  const startMs = performance.now();
  return ({ done, answered, total, id }) => {
    const left = timeLeft(answered, total - (done - answered), performance.now() - startMs);
    line.show(`${count(done)} of ${count(total)} questions${left}${id === undefined ? "" : ` · ${id}`}`);
  };
}
