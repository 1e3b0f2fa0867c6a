import { type Command, InvalidArgumentError } from "commander";
import { count } from "../core/figures.ts";
import type { EvaluationProgress } from "../eval/evaluate.ts";
import type { DrawnAnswer } from "../eval/files.ts";
import type { Agreement } from "../eval/run.ts";
import { MOST } from "../eval/seeds.ts";
import { ASKED_KINDS } from "../eval/world.ts";
import type { Oryx } from "../node/oryx.ts";
import type { Kind } from "../world/sample.ts";
import { registerEvalSet } from "./eval-set.ts";
import { UsageError } from "./failure.ts";
import { loadChosen } from "./model.ts";
import { wholeNumber } from "./numbers.ts";
import { addModelOptions, addOutputOptions, type ModelOptions } from "./options.ts";
import type { Shell } from "./shell.ts";
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
as large as its own. Each question is asked in a conversation of its own, and answered greedily.

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
  const { TARGETS, worldTable } = await import("../eval/report.ts");
  const { checkPlace, drawWrong, writeJson } = await import("../eval/files.ts");
  const { seed, count, kinds, show, pictures, against, out } = options;
  if (pictures !== undefined && show === 0) {
    throw new UsageError("--pictures goes with --show only", "say how many wrong answers to show");
  }
  if (out !== undefined) await checkPlace(out);
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  try {
    const { name, randomWeights, oryx } = await loadChosen({ ...options, cache: false }, shell, line);
    let other: Oryx | undefined;
    try {
      if (against !== undefined)
        other = (await loadChosen({ ...options, model: against, cache: false }, shell, line)).oryx;
      const agree = other && oryxAgreement(other);
      const asked = { seed, count, kinds, show, targets: TARGETS, agree, signal: shell.signal };
      const onProgress = progress(line);
      const { rows, answers, agreement, wrong } = await evaluateWorld(MINIATURE_WORLD, oryxAnswerer(oryx), {
        ...asked,
        onProgress,
      });
      line.clear();
      const compared = agreement && { against, agreement };
      const report = { eval: "world", model: name, randomWeights, seed, count, rows, ...compared };
      if (out !== undefined) await writeJson(out, { ...report, answers });
      const drawn = show > 0 ? await drawWrong(wrong, pictures) : [];
      if (shell.json) shell.printJson(show > 0 ? { ...report, wrong: drawn } : report);
      else {
        const agreed = agreement ? agreementLine(against as string, agreement) : "";
        shell.print(`${worldTable(rows)}\n${agreed}${drawn.map(wrongAnswer).join("")}`);
      }
    } finally {
      await other?.close();
      await oryx.close();
    }
  } finally {
    line.clear();
  }
}

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
