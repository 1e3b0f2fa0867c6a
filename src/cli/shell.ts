import type { Readable, Writable } from "node:stream";
import { OryxError } from "../core/errors.ts";
import { failureLine, failureOf, stackOf } from "./failure.ts";
import { columnsOf, wrap } from "./wrap.ts";

export type Input = Readable & { isTTY?: boolean };
export type Output = Writable & { isTTY?: boolean; columns?: number };

/** All that the command touches of its surroundings. `bin/oryx.js` hands in the process's own; tests hand in others. */
export interface Io {
  stdin: Input;
  stdout: Output;
  stderr: Output;
  env: Readonly<Record<string, string | undefined>>;
  /** Calls the listener at every Ctrl-C, which then does nothing else, until the returned function is called. */
  onInterrupt(listener: () => void): () => void;
}

/** Ends the command with this exit code; whatever there was to say has been said. */
export class Exit extends Error {
  override readonly name = "Exit";
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** One run of the command: where it writes, how it tells of failures, and what stops it. */
export class Shell {
  readonly io: Io;
  /** stdout carries JSON. */
  readonly json: boolean;
  /** stderr carries errors only. */
  readonly quiet: boolean;
  /** Errors are followed by their stacks and causes. */
  readonly debug: boolean;
  /** What Ctrl-C does; a verb may take it over for a while. By default it aborts, and a second one kills. */
  onInterrupt: () => void;
  readonly #abort = new AbortController();
  readonly #ignoreInterrupts: () => void;
  #outputError: NodeJS.ErrnoException | undefined;

  /** @param argv the arguments; the flags above are looked for among them, as a bad line never gets parsed. */
  constructor(argv: readonly string[], io: Io) {
    this.io = io;
    const end = argv.indexOf("--");
    const flags = new Set(end < 0 ? argv : argv.slice(0, end));
    this.json = flags.has("--json");
    this.quiet = flags.has("--quiet");
    this.debug = flags.has("--debug");
    this.onInterrupt = () => this.interrupt();
    this.#ignoreInterrupts = io.onInterrupt(() => this.onInterrupt());
    // These stay for good: a pipe may be found broken after the command has ended.
    io.stdout.on("error", (error: NodeJS.ErrnoException) => {
      this.#outputError ??= error;
      this.#abort.abort(error);
    });
    io.stderr.on("error", () => {}); // nobody is left to tell
  }

  /** Fires at Ctrl-C, and when stdout cannot be written any more. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whoever read stdout has stopped reading, as `head` does: no failure, but nothing is left to do. */
  get isUnread(): boolean {
    return this.#outputError?.code === "EPIPE";
  }

  /** Whether a person is watching stderr, so that progress may be shown there. */
  get isWatched(): boolean {
    return this.io.stderr.isTTY === true && !this.quiet && !this.json;
  }

  /** Aborts what is going on. After that, Ctrl-C does what it does to any process. */
  interrupt(): void {
    this.close();
    this.#abort.abort();
  }

  /** Writes to stdout; on a terminal without control characters, which could do anything there. */
  print(text: string): void {
    const { stdout } = this.io;
    if (this.#outputError === undefined) stdout.write(stdout.isTTY ? withoutControls(text) : text);
  }

  printJson(value: unknown): void {
    this.print(`${JSON.stringify(value)}\n`);
  }

  /** Text behind a verb's help, for commander's `addHelpText`: as wide as the terminal that it is printed on. */
  helpNotes(text: string): (help: { error: boolean }) => string {
    return ({ error }) => wrap(text, columnsOf(error ? this.io.stderr : this.io.stdout));
  }

  /** Writes a line to stderr, unless it is to be quiet or a program is listening. */
  note(text: string): void {
    if (!this.quiet && !this.json) this.#tell(withoutControls(text));
  }

  /** Tells of a failure: a line on stderr, with --json an object on stdout too. Returns its exit code. */
  report(error: unknown): number {
    const { code, message, remedy, exitCode } = failureOf(error);
    if (this.json) this.printJson({ error: { code, message, remedy } });
    if (code !== "aborted") this.#tell(failureLine({ code, message, remedy, exitCode }));
    if (this.debug) this.io.stderr.write(`${stackOf(error)}\n`);
    return exitCode;
  }

  /** Waits until stdout has taken everything. @throws OryxError `disk` when it could not */
  async flush(): Promise<void> {
    if (!this.io.stdout.destroyed) await new Promise((done) => this.io.stdout.write("", done));
    const cause = this.#outputError;
    if (cause === undefined || this.isUnread) return;
    throw new OryxError("disk", `stdout could not be written: ${cause.message}`, "check where it goes", {
      cause,
    });
  }

  #tell(text: string): void {
    const { stderr } = this.io;
    stderr.write(`${wrap(text, columnsOf(stderr))}\n`);
  }

  /** Leaves Ctrl-C to the process again. */
  close(): void {
    this.#ignoreInterrupts();
  }
}

/** A model's words and files' names may hold anything; of the control characters, only newline and tab are text. */
function withoutControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd");
}
