import { createHash } from "node:crypto";
import { type FileHandle, open, stat } from "node:fs/promises";
import { z } from "zod";
import { OryxError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { ignoreMissing, onDisk } from "../../files/disk.ts";
import { shortened } from "../../media/file.ts";
import type { Given } from "./ask.ts";
import type { SetQuestion } from "./question.ts";

/**
 * Answers as they come in, so that an evaluation goes on where it was stopped. JSON lines: the first holds the
 * settings, each further one an answer with what it took. A line is written at once and whole; one that a kill left
 * half written counts for nothing.
 */

const BEGINNING = '{"oryx_eval":1';
const HEAD = z.object({ oryx_eval: z.literal(1), settings: z.record(z.string(), z.unknown()) });

const TIMINGS = z.object({
  decodeMs: z.number(),
  encodeMs: z.number(),
  prefillMs: z.number(),
  firstTokenMs: z.number(),
  totalMs: z.number(),
  tokensPerSecond: z.number(),
});
const ITEM = z.object({
  name: z.string(),
  frames: z.number(),
  k: z.number(),
  size: z.string(),
  visualTokens: z.number(),
});
const GIVEN = z.object({
  got: z.string(),
  chosen: z.number().int().min(0).max(LIMITS.optionsPerQuestion).nullable().optional(),
  likelihoods: z.array(z.number()).max(LIMITS.optionsPerQuestion).optional(),
  tokens: z.number(),
  took: z.object({
    items: z.array(ITEM).max(LIMITS.mediaPerRequest),
    visualTokens: z.number(),
    promptTokens: z.number(),
    isReduced: z.boolean(),
    reused: z.object({ pictures: z.number(), promptTokens: z.number() }),
    timings: TIMINGS,
  }),
});
const LINE = z.object({ id: z.string(), question: z.string(), given: GIVEN });

/** What an evaluation's answers depend on, by name, as JSON has it. */
export type Settings = Readonly<Record<string, unknown>>;

export class AnswerLog {
  readonly #answers = new Map<string, { question: string; given: Given }>();
  readonly #path: string;
  readonly #file: FileHandle;
  #end = 0;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /**
   * Opens a log, or begins one.
   * @throws OryxError `answers_invalid`: it was written with other settings, or is damaged; `disk`
   */
  static async open(path: string, settings: Settings): Promise<AnswerLog> {
    return onDisk(`open ${path}`, async () => {
      const found = await stat(path).catch(ignoreMissing);
      if (found !== undefined && !found.isFile()) throw invalid(path, "it is not a regular file");
      if (found !== undefined && found.size > LIMITS.answerLogBytes) throw invalid(path, "it is too large");
      const file = await open(path, found === undefined ? "wx+" : "r+");
      const log = new AnswerLog(path, file);
      try {
        await log.#read(JSON.parse(JSON.stringify(settings)));
        await file.truncate(log.#end);
        if (log.#end === 0) await log.#append({ oryx_eval: 1, settings });
        return log;
      } catch (error) {
        await file.close();
        throw error;
      }
    });
  }

  /** The answer to this question, if there is one; a question that was changed has none. */
  given(question: SetQuestion): Given | undefined {
    const found = this.#answers.get(question.id);
    return found?.question === hashOf(question) ? found.given : undefined;
  }

  /** Notes an answer; when this returns, it survives a kill. @throws OryxError `disk` */
  async note(question: SetQuestion, given: Given, score: Readonly<Record<string, unknown>>): Promise<void> {
    const { id, categories } = question;
    const line = { id, question: hashOf(question), given, ...score, categories };
    await onDisk(`write ${this.#path}`, () => this.#append(line));
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  /** Reads line by line, in pieces: only answers are kept. */
  async #read(settings: Settings): Promise<void> {
    const piece = Buffer.alloc(1 << 20);
    let rest = Buffer.alloc(0);
    for (let [at, line] = [0, 1]; ; ) {
      const { bytesRead } = await this.#file.read(piece, 0, piece.length, at);
      if (bytesRead === 0) {
        if (line === 1) this.#checkBeginning(rest.toString("utf8", 0, BEGINNING.length));
        return;
      }
      at += bytesRead;
      const bytes = Buffer.concat([rest, piece.subarray(0, bytesRead)]);
      let start = 0;
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start), line++) {
        this.#take(bytes.toString("utf8", start, end), line, settings);
        this.#end += end + 1 - start;
        start = end + 1;
      }
      rest = bytes.subarray(start);
      if (rest.length > LIMITS.recordBytes) throw invalid(this.#path, `line ${line} is too long`);
    }
  }

  /** A first line that was cut is written anew, but nothing else is. */
  #checkBeginning(text: string): void {
    if (!BEGINNING.startsWith(text)) throw invalid(this.#path, "it is no log of answers");
  }

  #take(text: string, line: number, settings: Settings): void {
    if (line === 1) {
      this.#takeHead(text, settings);
      return;
    }
    const { data } = LINE.safeParse(parsed(text));
    if (data === undefined) throw invalid(this.#path, `line ${line} is damaged`);
    const { id, question, given } = data;
    this.#answers.set(id, { question, given: given as Given });
  }

  #takeHead(text: string, settings: Settings): void {
    const { data } = HEAD.safeParse(parsed(text));
    if (data === undefined)
      throw invalid(this.#path, "it is no log of answers, or its first line is damaged");
    const names = new Set([...Object.keys(settings), ...Object.keys(data.settings)]);
    const other = [...names].filter((name) => {
      return JSON.stringify(data.settings[name]) !== JSON.stringify(settings[name]);
    });
    if (other.length === 0) return;
    const [name] = other as [string];
    const was = shortened(JSON.stringify(data.settings[name]) ?? "not given");
    throw invalid(this.#path, `it was written with other settings: ${name} was ${was}`);
  }

  async #append(value: object): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(value)}\n`);
    for (let done = 0; done < line.length; ) {
      const { bytesWritten } = await this.#file.write(line, done, line.length - done, this.#end + done);
      done += bytesWritten;
    }
    this.#end += line.length;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Tells a question from another one with the same id. */
function hashOf(question: SetQuestion): string {
  const { media, text } = question;
  const options = question.kind === "choice" ? question.options : undefined;
  return createHash("sha256")
    .update(JSON.stringify([media, text, options]))
    .digest("hex")
    .slice(0, 16);
}

const invalid = (path: string, problem: string): OryxError =>
  new OryxError(
    "answers_invalid",
    `${shortened(path)}: ${problem}`,
    "give another --out, or remove the file",
  );
