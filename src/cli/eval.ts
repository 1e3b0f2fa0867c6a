import { type Command, InvalidArgumentError } from "commander";
import { count } from "../core/figures.ts";
import type { EvaluationProgress, WorldEvaluation } from "../eval/evaluate.ts";
import type { DrawnAnswer } from "../eval/files.ts";
import type { Agreement } from "../eval/run.ts";
import { MOST } from "../eval/seeds.ts";
import { ASKED_KINDS } from "../eval/world.ts";
import type { Oryx } from "../node/oryx.ts";
import type { Kind } from "../world/sample.ts";
import { registerEvalSet } from "./eval-set.ts";
import { UsageError } from "./failure.ts";
import { type ChosenModel, loadChosen } from "./model.ts";
import { wholeNumber } from "./numbers.ts";
import { addModelOptions, addOutputOptions, type ModelOptions } from "./options.ts";
import { Exit, type Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";
import { timeLeft } from "./words.ts";

interface EvalWorldOptions extends ModelOptions {
  seed: number;
  count: number;
  kinds?: Kind[];
  show: number;
  pictures?: string;
  against?: string;
  out?: string;
}

const NOTES = `
The miniature world draws images and videos with questions that have one right answer. Asked are pictures that
training never draws, combinations (a colour on a shape, a word in a place) that it never draws, and images twice
as large as its own. Each question is asked in a conversation of its own, and answered greedily. Stopped by Ctrl-C, it tells
about the questions that were answered.

Examples:
  oryx eval world
  oryx eval world --count 20 --kinds count,read
  oryx eval world --model runs/mine --out answers.json --show 10
  oryx convert models/oryx-tiny small && oryx eval world --against small`;

/** `oryx eval world` */
export function registerEval(program: Command, shell: Shell): void {
  const evaluate = program
    .command("eval")
    .summary("measure how often a model is right")
    .description("Measure how often a model is right: about a set of questions, or the miniature world.");
  registerEvalSet(evaluate, shell);
  const command = evaluate
    .command("world")
    .description("Questions about the miniature world that oryx-tiny is trained on.")
    .option("--seed <n>", "another number asks other questions", wholeNumber(0, MOST.seed), 0)
    .option("--count <n>", "questions about each topic, in each column", wholeNumber(1, MOST.count), 100)
    .option("--kinds <names>", `only these kinds, with commas between them: ${ASKED_KINDS.join(", ")}`, kinds)
    .option(
      "--show <n>",
      "print so many wrong answers, and draw what they are about",
      wholeNumber(0, 1000),
      0,
    )
    .option(
      "--against <dir>",
      "another form of the model (converted, say): also how often it finds each token of an answer the likeliest",
    )
    .option("--pictures <dir>", "where --show draws (default: a new temporary folder)");
  addModelOptions(command);
  addOutputOptions(command, "print the table as one JSON object");
  command
    .option("--out <file>", "write table and all answers as JSON")
    .addHelpText("after", shell.helpNotes(NOTES))
    .action((options: EvalWorldOptions) => evalWorld(options, shell));
}

async function evalWorld(options: EvalWorldOptions, shell: Shell): Promise<void> {
  const { evaluateWorld } = await import("../eval/evaluate.ts");
  const { MINIATURE_WORLD } = await import("../eval/miniature.ts");
  const { oryxAgreement, oryxAnswerer } = await import("../eval/run.ts");
  const { TARGETS } = await import("../eval/report.ts");
  const { checkPlace } = await import("../eval/files.ts");
  const { seed, count, kinds, show, pictures, against, out } = options;
  if (pictures !== undefined && show === 0) {
    throw new UsageError("--pictures goes with --show only", "say how many wrong answers to show");
  }
  if (out !== undefined) await checkPlace(out);
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  try {
    const model = await loadChosen({ ...options, cache: false }, shell, line);
    const { oryx } = model;
    let other: Oryx | undefined;
    try {
      if (against !== undefined)
        other = (await loadChosen({ ...options, model: against, cache: false }, shell, line)).oryx;
      const agree = other && oryxAgreement(other);
      const asked = { seed, count, kinds, show, targets: TARGETS, agree, signal: shell.signal };
      const onProgress = progress(line);
      const answerer = oryxAnswerer(oryx);
      const evaluation = await evaluateWorld(MINIATURE_WORLD, answerer, { ...asked, onProgress });
      line.clear();
      await tell(evaluation, options, model, shell);
      if (evaluation.answers.length < evaluation.total) throw new Exit(130);
    } finally {
      await other?.close();
      await oryx.close();
    }
  } finally {
    line.clear();
  }
}

/** Prints the table, and writes it; of an evaluation that was stopped, with a mark that says so. */
async function tell(
  { rows, answers, total, agreement, wrong }: WorldEvaluation,
  { seed, count, show, pictures, against, out }: EvalWorldOptions,
  { name, randomWeights }: ChosenModel,
  shell: Shell,
): Promise<void> {
  const { worldTable } = await import("../eval/report.ts");
  const { drawWrong, writeJson } = await import("../eval/files.ts");
  const stopped = answers.length < total && { stopped: { answered: answers.length, questions: total } };
  const compared = agreement && { against, agreement };
  const report = { eval: "world", model: name, randomWeights, seed, count, ...stopped, rows, ...compared };
  if (out !== undefined) await writeJson(out, { ...report, answers });
  const drawn = show > 0 ? await drawWrong(wrong, pictures) : [];
  if (shell.json) shell.printJson(show > 0 ? { ...report, wrong: drawn } : report);
  else {
    const cut = stopped ? stoppedLine(stopped.stopped) : "";
    const agreed = agreement ? agreementLine(against as string, agreement) : "";
    shell.print(`${worldTable(rows)}\n${cut}${agreed}${drawn.map(wrongAnswer).join("")}`);
  }
}

const stoppedLine = ({ answered, questions }: { answered: number; questions: number }): string =>
  `\nstopped behind ${count(answered)} of ${count(questions)} questions\n`;

const agreementLine = (against: string, { tokens, same }: Agreement): string =>
  `\n${against} finds ${((100 * same) / Math.max(1, tokens)).toFixed(2)}% of the ${count(tokens)} tokens of these answers the likeliest too\n`;

function progress(line: StatusLine): (progress: EvaluationProgress) => void {
  const startMs = performance.now();
  return ({ column, topic, done, total }) => {
    const left = timeLeft(done, total, performance.now() - startMs);
    line.show(`${column}, ${topic}: ${count(done)} of ${count(total)} questions${left}`);
  };
}

function wrongAnswer({ id, question, expected, got, picture }: DrawnAnswer): string {
  return `\n${id}  ${picture}\n  asked:    ${question}\n  expected: ${expected}\n  got:      ${got}\n`;
}

function kinds(text: string): Kind[] {
  const names = text.split(",");
  const known: ReadonlySet<string> = new Set(ASKED_KINDS);
  for (const name of names) {
    if (!known.has(name)) throw new InvalidArgumentError(`Give some of ${ASKED_KINDS.join(", ")}`);
  }
  return ASKED_KINDS.filter((kind) => names.includes(kind));
}
