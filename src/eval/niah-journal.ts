import { createHash } from "node:crypto";
import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { ignoreMissing, onDisk } from "../files/disk.ts";
import type { Reply } from "./niah-ask.ts";

/** Answers as they come in, so that a test goes on where it was stopped: a line for each task, on the disk. */

const HEAD = z.strictObject({ niah: z.literal(1), fingerprint: z.string() });
const LINE = z.strictObject({
  key: z.string(),
  replies: z.array(z.strictObject({ got: z.string(), tokens: z.number(), hits: z.number() })),
});

export class NiahJournal {
  /** Replies by the key of the task. */
  readonly replies = new Map<string, Reply[]>();
  readonly #path: string;
  readonly #fingerprint: string;
  #file: FileHandle | undefined;
  /** Where the next line goes: a kill may have left half a line behind it. */
  #end = 0;

  private constructor(path: string, fingerprint: string) {
    this.#path = path;
    this.#fingerprint = fingerprint;
  }

  /**
   * Reads a journal, if there is one. A line that a kill left half written, and what follows it, counts for nothing.
   * @param fingerprint of all that answers depend on, the cells and needles aside
   * @throws OryxError `answers_invalid` when it was written with another fingerprint, `disk`
   */
  static async open(path: string, fingerprint: string): Promise<NiahJournal> {
    const journal = new NiahJournal(path, fingerprint);
    await onDisk(`read ${path}`, async () => {
      const found = await stat(path).catch(ignoreMissing);
      if (found === undefined) return;
      if (found.size > LIMITS.answerLogBytes) throw invalid(path, `it has ${found.size} bytes`);
      journal.#end = journal.#read(await readFile(path), fingerprint);
    });
    return journal;
  }

  /** @returns where the next line goes */
  #read(bytes: Buffer, fingerprint: string): number {
    let end = 0;
    for (let stop = bytes.indexOf("\n"); stop >= 0; stop = bytes.indexOf("\n", end)) {
      const line = parseLine(bytes.toString("utf8", end, stop));
      if (end === 0) {
        const head = HEAD.safeParse(line);
        if (!head.success) throw invalid(this.#path, "its first line is damaged");
        if (head.data.fingerprint !== fingerprint) {
          throw invalid(this.#path, "it was written with another model, other films or other options");
        }
      } else {
        const task = LINE.safeParse(line);
        if (!task.success) break;
        this.replies.set(task.data.key, task.data.replies);
      }
      end = stop + 1;
    }
    return end;
  }

  /** Notes replies; when it returns they would survive a loss of power. @throws OryxError `disk` */
  async note(key: string, replies: Reply[]): Promise<void> {
    await onDisk(`write ${this.#path}`, async () => {
      this.#file ??= await this.#begin();
      await this.#append(this.#file, { key, replies });
    });
    this.replies.set(key, replies);
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  async #begin(): Promise<FileHandle> {
    const file = await open(this.#path, this.#end > 0 ? "r+" : "w");
    try {
      await file.truncate(this.#end);
      if (this.#end === 0) await this.#append(file, { niah: 1, fingerprint: this.#fingerprint });
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async #append(file: FileHandle, value: object): Promise<void> {
    const json = JSON.stringify(value);
    const line = Buffer.from(`${json} ${hashOf(json)}\n`);
    await file.write(line, 0, line.length, this.#end);
    await file.datasync();
    this.#end += line.length;
  }
}

/** What a line says; undefined when it is not as it was written. */
function parseLine(line: string): unknown {
  const at = line.lastIndexOf(" ");
  const json = line.slice(0, Math.max(0, at));
  return line.slice(at + 1) === hashOf(json) ? JSON.parse(json) : undefined;
}

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

const invalid = (path: string, problem: string): OryxError =>
  new OryxError("answers_invalid", `${path}: ${problem}`, "give another --out, or remove that file");
