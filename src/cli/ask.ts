import { Argument, type Command, InvalidArgumentError, Option } from "commander";
import { throwIfAborted } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type Asked, TASKS, type Task } from "../engine/task.ts";
import { printAnswer } from "./answers.ts";
import { mediaAndQuestion } from "./media-words.ts";
import { loadChosen } from "./model.ts";
import {
  addCacheOption,
  addModelOptions,
  addOutputOptions,
  addTurnOptions,
  type CacheOption,
  type ModelOptions,
  type TurnOptions,
  turnOptions,
} from "./options.ts";
import { planText } from "./plan-table.ts";
import { RequestProgress } from "./request-progress.ts";
import type { Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";

interface AskOptions extends ModelOptions, CacheOption, TurnOptions {
  task?: Task;
  option?: string[];
  plan?: boolean;
}

const NOTES = `
Images are JPEG, PNG, WebP, GIF or AVIF; videos mp4, mov, webm or mkv, and what an installed ffmpeg reads.
The answer goes to stdout; progress to stderr, when that is a terminal.

Examples:
  oryx ask photo.jpg "What is in this picture?"
  oryx ask before.png after.png "What has changed?"
  oryx ask lecture.mp4 "What is it about?" --max-frames 256
  oryx ask --frames --fps 2 shots/ "What moves?"
  oryx ask photo.jpg "Name the colours." --json | jq -r .answer
  oryx ask lecture.mp4 --task summarize --budget-tokens 4000 --plan
  oryx ask photo.jpg "Which colour is it?" --task mcq --option red --option blue`;

/** What the words are; that only the last one is the question, commander's arguments cannot say. */
const SHOWN_ARGUMENTS = [
  new Argument("[media...]", "images and videos; with --frames, a video's frames"),
  new Argument("<question>", "the last word, in quotes when it has blanks; a task may do without"),
];

/** `oryx ask [media...] <question>` */
export function registerAsk(program: Command, shell: Shell): void {
  const command = program
    .command("ask")
    .summary("ask a question of images and videos")
    .description(
      "Ask a question of images and videos. The last word is the question, those before it are files.",
    )
    .usage("[options] [media...] <question>")
    .argument("[words...]")
    .configureHelp({ visibleArguments: () => SHOWN_ARGUMENTS });
  command.optionsGroup("Task:");
  command
    .addOption(
      new Option("--task <name>", "what the answer is to be, with --json by its parts").choices(TASKS),
    )
    .option("--option <text>", "a text to choose, for --task mcq; give two or more", choiceOption);
  addModelOptions(command);
  addCacheOption(command);
  addTurnOptions(command);
  addOutputOptions(command, "print the answer, the plan and the timings as one JSON object");
  command
    .option("--plan", "print what would be shown to the model, and why, and stop before anything is decoded")
    .addHelpText("after", shell.helpNotes(NOTES))
    .action((words: string[], options: AskOptions) => ask(words, options, shell));
}

async function ask(words: readonly string[], options: AskOptions, shell: Shell): Promise<void> {
  const asked = askedOptions(options);
  const isQuestionNeeded = asked.task === undefined || asked.task === "mcq";
  const said = await mediaAndQuestion(words, options, isQuestionNeeded);
  const request = { ...turnOptions(options), ...asked, ...said };
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  try {
    const model = await loadChosen(options, shell, line);
    try {
      throwIfAborted(shell.signal);
      if (options.plan) {
        const plan = await model.oryx.plan({ ...request, ...systemOf(options), signal: shell.signal });
        line.clear();
        const { name, randomWeights } = model;
        if (shell.json) shell.printJson({ model: name, randomWeights, plan });
        else shell.print(`${planText(plan)}\n`);
        return;
      }
      const { onPlan, onProgress } = new RequestProgress(line, shell.io.stdout.isTTY === true);
      const turn = { ...request, ...systemOf(options), signal: shell.signal, onPlan, onProgress };
      const stream = model.oryx.ask(turn);
      await printAnswer(stream, model, shell, line);
    } finally {
      await model.oryx.close();
    }
  } finally {
    line.clear();
  }
}

const systemOf = ({ system }: AskOptions): { system?: string } => (system === undefined ? {} : { system });

const askedOptions = ({ task, option }: AskOptions): Asked => ({
  ...(task && { task }),
  ...(option && { options: option }),
});

function choiceOption(text: string, before: readonly string[] = []): string[] {
  if (text.trim() === "") throw new InvalidArgumentError("Give a text");
  const most = LIMITS.optionsPerQuestion;
  if (before.length === most) throw new InvalidArgumentError(`Give at most ${most} of them`);
  return [...before, text];
}
