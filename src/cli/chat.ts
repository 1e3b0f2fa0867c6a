import { createInterface, type Interface } from "node:readline";
import type { Command } from "commander";
import { type ChatOptions, ChatSession } from "./chat-session.ts";
import { lineGuard } from "./line-guard.ts";
import { mediaItems } from "./media-words.ts";
import { loadChosen } from "./model.ts";
import { addCacheOption, addModelOptions, addOutputOptions, addTurnOptions } from "./options.ts";
import { Exit, type Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";

const NOTES = `
Every line is a question, or a command: /add FILE..., /reset, /info, /help, /quit.
Ctrl-C stops an answer, Ctrl-D ends the chat. Lines may be piped in:

  printf '%s\\n' "What is this?" "Where?" | oryx chat photo.jpg`;

const PROMPT = "> ";

/** `oryx chat [media...]` */
export function registerChat(program: Command, shell: Shell): void {
  const command = program
    .command("chat")
    .summary("talk about images and videos")
    .description("Talk about images and videos. Files named here go with the first question.")
    .usage("[options] [media...]")
    .argument("[media...]", "files for the first question");
  addModelOptions(command);
  addCacheOption(command);
  addTurnOptions(command);
  addOutputOptions(command, "print each answer as one line of JSON");
  command
    .addHelpText("after", shell.helpNotes(NOTES))
    .action((words: string[], options: ChatOptions) => chat(words, options, shell));
}

async function chat(words: readonly string[], options: ChatOptions, shell: Shell): Promise<void> {
  const media = await mediaItems(words, options);
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  const model = await loadChosen(options, shell, line).finally(() => line.clear());
  try {
    const session = new ChatSession(model, options, shell, line);
    session.add(media);
    const isTalk = shell.io.stdin.isTTY === true && shell.io.stdout.isTTY === true && !shell.json;
    const isAllAnswered = await talk(session, shell, isTalk);
    session.close();
    if (!isAllAnswered && !isTalk) throw new Exit(1);
  } finally {
    await model.oryx.close();
  }
}

/** Answers line by line. On a terminal a failure is part of the talk; in a script it shows in the exit code. */
async function talk(session: ChatSession, shell: Shell, isTalk: boolean): Promise<boolean> {
  const { stdin, stdout } = shell.io;
  const lines = isTalk
    ? createInterface({ input: stdin, output: stdout, terminal: true, prompt: PROMPT })
    : createInterface({ input: stdin.pipe(lineGuard()), terminal: false });
  const onAbort = () => lines.close();
  shell.signal.addEventListener("abort", onAbort);
  shell.onInterrupt = () => interrupt(session, lines, shell, isTalk);
  lines.on("SIGINT", () => shell.onInterrupt()); // on a terminal, readline gets the key before the process does
  let isAllAnswered = true;
  try {
    if (isTalk) lines.prompt();
    for await (const text of lines) {
      isAllAnswered = (await session.hear(text)) && isAllAnswered;
      if (session.isOver || shell.signal.aborted) break;
      if (isTalk) lines.prompt();
    }
    if (isTalk && !session.isOver) shell.print("\n"); // Ctrl-D leaves the prompt's line open
  } finally {
    lines.close();
    stdin.unpipe().pause(); // else a pipe that stays open would keep the process alive
    shell.signal.removeEventListener("abort", onAbort);
  }
  if (shell.signal.aborted) throw new Exit(130);
  return isAllAnswered;
}

/** Ctrl-C: stops the answer; without one, empties the line on a terminal and ends a script. */
function interrupt(session: ChatSession, lines: Interface, shell: Shell, isTalk: boolean): void {
  if (session.stopAnswer()) return;
  if (!isTalk) {
    shell.interrupt();
    return;
  }
  shell.print("\n(Ctrl-D or /quit ends the chat)\n");
  lines.write(null, { ctrl: true, name: "e" });
  lines.write(null, { ctrl: true, name: "u" });
  lines.prompt();
}
