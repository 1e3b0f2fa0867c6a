import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { LIMITS } from "../core/limits.ts";
import { sealed, unsealed } from "../files/sealed-line.ts";
import type { Disk, OutputFile } from "./disk.ts";
import type { JobResult } from "./work.ts";

/**
 * What a conversion has done so far, so that it can go on after a kill: a first line that says what is being made
 * of what, then one line for each job whose bytes are safely on the disk. Lines are sealed, as what is believed of
 * them ends up in the manifest.
 */
export const JOURNAL_FILE = "journal.jsonl";

const HEAD = z.strictObject({ journal: z.literal(1), fingerprint: z.string() });
const LINE = z.strictObject({
  name: z.string(),
  hashes: z.record(z.string(), z.string()),
  errors: z.record(z.string(), z.number()),
});

/** What an earlier run left. */
export interface Notes {
  /** Says of what it was made; undefined when the first line is no good. */
  fingerprint: string | undefined;
  jobs: Map<string, JobResult>;
  /** Where the next line goes: a kill may have left half a line behind it. */
  end: number;
}

/** Reads a journal; undefined when there is none. A line that is no good, and what follows it, counts for nothing. */
export async function readJournal(path: string): Promise<Notes | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) return undefined;
  const notes: Notes = { fingerprint: undefined, jobs: new Map(), end: 0 };
  if (found.size > LIMITS.jsonTextBytes) return notes;
  const bytes = await readFile(path).catch(() => Buffer.alloc(0));
  for (let end = bytes.indexOf("\n"); end >= 0; end = bytes.indexOf("\n", notes.end)) {
    const line = unsealed(bytes.toString("utf8", notes.end, end));
    if (notes.end === 0) {
      const head = HEAD.safeParse(line);
      if (!head.success) break;
      notes.fingerprint = head.data.fingerprint;
    } else {
      const job = LINE.safeParse(line);
      if (!job.success) break;
      notes.jobs.set(job.data.name, job.data);
    }
    notes.end = end + 1;
  }
  return notes;
}

/** A journal that is being written. */
export class Journal {
  readonly #file: OutputFile;
  #end: number;
  #last: Promise<void> = Promise.resolve();

  private constructor(file: OutputFile, end: number) {
    this.#file = file;
    this.#end = end;
  }

  /** Begins a journal, or goes on behind the good lines of one. */
  static async open(disk: Disk, path: string, fingerprint: string, end: number): Promise<Journal> {
    const file = await disk.open(path);
    const journal = new Journal(file, end);
    await file.resize(end);
    if (end === 0) await journal.#write({ journal: 1, fingerprint });
    return journal;
  }

  /** Notes jobs; returns when that is on the disk. May be called while an earlier call is under way. */
  note(results: readonly JobResult[]): Promise<void> {
    this.#last = this.#last.then(() =>
      this.#write(...results.map(({ name, hashes, errors }) => ({ name, hashes, errors }))),
    );
    return this.#last;
  }

  /** Ends it when what is being written is there, or has failed. */
  async close(): Promise<void> {
    await this.#last.catch(() => undefined); // whoever noted it has been told
    await this.#file.close();
  }

  async #write(...lines: object[]): Promise<void> {
    if (lines.length === 0) return;
    const bytes = new TextEncoder().encode(lines.map((line) => `${sealed(line)}\n`).join(""));
    await this.#file.write(bytes, this.#end);
    await this.#file.sync();
    this.#end += bytes.length;
  }
}
