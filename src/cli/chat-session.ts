import { OryxError } from "../core/errors.ts";
import { count } from "../core/figures.ts";
import { LIMITS } from "../core/limits.ts";
import type { Conversation } from "../engine/conversation.ts";
import type { MediaItem } from "../engine/request.ts";
import { printAnswer } from "./answers.ts";
import { failureOf, UsageError } from "./failure.ts";
import { mediaItems } from "./media-words.ts";
import type { ChosenModel } from "./model.ts";
import { type CacheOption, type ModelOptions, type TurnOptions, turnOptions } from "./options.ts";
import { RequestProgress } from "./request-progress.ts";
import type { Shell } from "./shell.ts";
import type { StatusLine } from "./status-line.ts";

export type ChatOptions = ModelOptions & CacheOption & TurnOptions;

const HELP = `/add FILE...  show images or videos with the next question ("quotes" for names with spaces)
/reset        forget everything said and shown
/info         tokens used
/quit         end the chat (or Ctrl-D)
`;

/** A talk with a model: hears lines, answers them, and remembers. */
export class ChatSession {
  /** Somebody has said /quit. */
  isOver = false;
  readonly #model: ChosenModel;
  readonly #options: ChatOptions;
  readonly #shell: Shell;
  readonly #line: StatusLine;
  #conversation: Conversation;
  /** What goes with the next question. */
  #media: MediaItem[] = [];
  #answering: AbortController | undefined;

  constructor(model: ChosenModel, options: ChatOptions, shell: Shell, line: StatusLine) {
    this.#model = model;
    this.#options = options;
    this.#shell = shell;
    this.#line = line;
    this.#conversation = this.#open();
  }

  /** Shows media with the next question. */
  add(media: readonly MediaItem[]): void {
    this.#media.push(...media);
  }

  /** Does what a line says. A failure is told, and ends nothing. @returns false if there was one */
  async hear(line: string): Promise<boolean> {
    const text = line.trim();
    try {
      requireShort(text);
      // A path at the beginning of a question is no command: "/home/a.jpg" has a second slash.
      const command = /^\/([a-z]*)(?:\s+(.*))?$/.exec(text);
      if (command) await this.#obey(command[1] as string, command[2] ?? "");
      else if (text !== "") await this.#ask(text);
      return true;
    } catch (error) {
      this.#line.clear();
      this.#shell.report(error);
      return false;
    }
  }

  /** Stops the answer that is coming. @returns false if there is none, or it has been told to stop already */
  stopAnswer(): boolean {
    if (this.#answering === undefined || this.#answering.signal.aborted) return false;
    this.#answering.abort();
    return true;
  }

  close(): void {
    this.#conversation.close();
  }

  #open(): Conversation {
    const { system } = this.#options;
    return this.#model.oryx.chat(system === undefined ? {} : { system });
  }

  async #ask(question: string): Promise<void> {
    const stop = new AbortController();
    this.#answering = stop;
    const signal = AbortSignal.any([stop.signal, this.#shell.signal]);
    const { onPlan, onProgress } = new RequestProgress(this.#line, this.#shell.io.stdout.isTTY === true);
    const request = {
      ...turnOptions(this.#options),
      question,
      media: this.#media,
      signal,
      onPlan,
      onProgress,
    };
    try {
      await printAnswer(this.#conversation.ask(request), this.#model, this.#shell, this.#line);
      this.#media = [];
    } catch (error) {
      // The conversation is as before, so that the media are still to be shown, unless they are what failed.
      if (failureOf(error).code.startsWith("media_")) this.#media = [];
      throw error;
    } finally {
      this.#answering = undefined;
    }
  }

  async #obey(command: string, rest: string): Promise<void> {
    switch (command) {
      case "add":
        return this.#addFiles(splitWords(rest));
      case "reset":
        return this.#reset();
      case "info":
        return this.#tellTokens();
      case "help":
        return this.#say(HELP);
      case "quit":
        this.isOver = true;
        return;
      default:
        throw new UsageError(`there is no command /${command}`, "/help lists them");
    }
  }

  async #addFiles(paths: readonly string[]): Promise<void> {
    if (paths.length === 0) throw new UsageError("/add names no file", "write /add FILE...");
    this.add(await mediaItems(paths, {}));
    this.#say(
      `${this.#media.length === 1 ? "1 file goes" : `${this.#media.length} files go`} with the next question\n`,
    );
  }

  #reset(): void {
    this.#conversation.close();
    this.#conversation = this.#open();
    this.#media = [];
    this.#say("forgotten\n");
  }

  #tellTokens(): void {
    const { tokens } = this.#conversation;
    const { contextTokens } = this.#model.oryx;
    if (this.#shell.json) this.#shell.printJson({ tokens, contextTokens });
    else this.#say(`${count(tokens)} of ${count(contextTokens)} tokens used\n`);
  }

  /** Says what no program that reads JSON is waiting for. */
  #say(text: string): void {
    if (!this.#shell.json) this.#shell.print(text);
  }
}

/** Of a longer line there is only the beginning (see line-guard.ts), so that its length is unknown. */
function requireShort(line: string): void {
  if (line.length <= LIMITS.promptChars) return;
  const problem = `the line has more than ${count(LIMITS.promptChars)} characters`;
  throw new OryxError("prompt_invalid", problem, "shorten it");
}

/** Words as a shell would see them: blanks part them, except within quotes. */
export function splitWords(text: string): string[] {
  const words = text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g);
  return [...words].map(([, double, single, bare]) => double ?? single ?? (bare as string));
}
