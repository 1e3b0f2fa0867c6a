import { Readable, Writable } from "node:stream";
import type { Io } from "../../src/cli/shell.ts";

/** What a run of the command reads, and on what it writes. */
export interface Setting {
  /** What is typed or piped in. */
  input?: string;
  /** stdout and stderr are terminals. */
  terminal?: boolean;
  /** How wide the terminal is; default 100. */
  columns?: number;
  env?: Record<string, string>;
  /** Called after each write to stdout, with all that has been written. */
  onOutput?: (text: string, io: RecordedIo) => void;
  /** stdout fails with this code from the first write on. */
  outputFails?: string;
}

/** Surroundings of the command that remember what it wrote. */
export class RecordedIo implements Io {
  readonly stdin: Io["stdin"];
  readonly stdout: Io["stdout"];
  readonly stderr: Io["stderr"];
  readonly env: Record<string, string>;
  out = "";
  err = "";
  readonly #interrupted = new Set<() => void>();

  constructor({
    input = "",
    terminal = false,
    columns = 100,
    env = {},
    onOutput,
    outputFails,
  }: Setting = {}) {
    this.env = { ORYX_CACHE: "off", ...env };
    this.stdin = Readable.from([Buffer.from(input)]);
    this.stdout = stream(terminal, columns, (text) => {
      this.out += text;
      onOutput?.(this.out, this);
      return outputFails;
    });
    this.stderr = stream(terminal, columns, (text) => {
      this.err += text;
      return undefined;
    });
  }

  onInterrupt(listener: () => void): () => void {
    this.#interrupted.add(listener);
    return () => this.#interrupted.delete(listener);
  }

  /** Presses Ctrl-C. @returns false when nobody listens: the process would be killed */
  interrupt(): boolean {
    const listeners = [...this.#interrupted];
    for (const listener of listeners) listener();
    return listeners.length > 0;
  }

  /** Lines of stderr as a terminal shows them in the end: what was cleared is gone. */
  get screen(): string[] {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal's "clear this line"
    const seen = this.err.split("\n").map((line) => line.split(/\r\u001b\[2K/).at(-1) as string);
    return seen.filter((line) => line !== "");
  }
}

function stream(isTTY: boolean, columns: number, take: (text: string) => string | undefined): Io["stdout"] {
  const writable = new Writable({
    decodeStrings: false,
    write(chunk, _encoding, done) {
      const code = take(String(chunk));
      done(code === undefined ? null : Object.assign(new Error(code), { code }));
    },
  });
  return Object.assign(writable, { isTTY, columns });
}
