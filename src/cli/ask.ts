import { Argument, type Command } from "commander";
import { throwIfAborted } from "../core/errors.ts";
import { printAnswer } from "./answers.ts";
import { mediaAndQuestion } from "./media-words.ts";
import { loadChosen } from "./model.ts";
import {
  addModelOptions,
  addOutputOptions,
  addTurnOptions,
  type ModelOptions,
  type TurnOptions,
  turnOptions,
} from "./options.ts";
import { RequestProgress } from "./request-progress.ts";
import type { Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";

type AskOptions = ModelOptions & TurnOptions;

const NOTES = `
Images are JPEG, PNG, WebP, GIF or AVIF; videos mp4, mov, webm or mkv, and what an installed ffmpeg reads.
The answer goes to stdout; progress to stderr, when that is a terminal.

Examples:
  oryx ask photo.jpg "What is in this picture?"
  oryx ask before.png after.png "What has changed?"
  oryx ask lecture.mp4 "What is it about?" --max-frames 256
  oryx ask --frames --fps 2 shots/ "What moves?"
  oryx ask photo.jpg "Name the colours." --json | jq -r .answer`;

/** What the words are; that only the last one is the question, commander's arguments cannot say. */
const SHOWN_ARGUMENTS = [
  new Argument("[media...]", "images and videos; with --frames, a video's frames"),
  new Argument("<question>", "the last word, in quotes when it has blanks"),
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
  addModelOptions(command);
  addTurnOptions(command);
  addOutputOptions(command, "print the answer, the plan and the timings as one JSON object");
  command
    .addHelpText("after", shell.helpNotes(NOTES))
    .action((words: string[], options: AskOptions) => ask(words, options, shell));
}

async function ask(words: readonly string[], options: AskOptions, shell: Shell): Promise<void> {
  const request = { ...turnOptions(options), ...(await mediaAndQuestion(words, options)) };
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  try {
    const model = await loadChosen(options, shell, line);
    try {
      throwIfAborted(shell.signal);
      const { onPlan, onProgress } = new RequestProgress(line, shell.io.stdout.isTTY === true);
      const system = options.system === undefined ? {} : { system: options.system };
      const stream = model.oryx.ask({ ...request, ...system, signal: shell.signal, onPlan, onProgress });
      await printAnswer(stream, model, shell, line);
    } finally {
      await model.oryx.close();
    }
  } finally {
    line.clear();
  }
}
