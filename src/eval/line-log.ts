import { type FileHandle, open } from "node:fs/promises";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { ignoreMissing, onDisk } from "../files/disk.ts";
import { shortened } from "../media/file.ts";

/** What is done with a line that is read, from number 1; `false`: it and what follows it count for nothing. */
export type TakeLine = (line: string, number: number) => boolean;

/**
 * A text file that grows by a line for each answer, so that a test goes on where it was stopped. A line that a kill left
 * half written counts for nothing; the next one takes its place.
 */
export class LineLog {
  readonly #path: string;
  #file: FileHandle | undefined;
  /** Bytes that count. */
  #end = 0;

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * Reads the lines of a file, if there is one; nothing is changed before the first {@link append}.
   * @param beginning of every such file: one that begins otherwise is somebody else's
   * @throws OryxError `answers_invalid` when it is no such file, `disk`, and what `take` throws
   */
  static async open(path: string, beginning: string, take: TakeLine): Promise<LineLog> {
    const log = new LineLog(path);
    await onDisk(`read ${path}`, async () => {
      const file = await open(path, "r").catch(ignoreMissing);
      if (file === undefined) return;
      try {
        const found = await file.stat();
        if (!found.isFile()) throw invalidLog(path, "it is not a regular file");
        if (found.size > LIMITS.answerLogBytes) throw invalidLog(path, "it is too large");
        const start = Buffer.alloc(Math.min(found.size, beginning.length));
        await file.read(start, 0, start.length, 0);
        // A first line that was cut is written anew, but nothing else is.
        if (!beginning.startsWith(start.toString())) throw invalidLog(path, "it is no log of answers");
        await log.#read(file, take);
      } finally {
        await file.close();
      }
    });
    return log;
  }

  get isEmpty(): boolean {
    return this.#end === 0;
  }

  /** When this returns, the line would survive a loss of power. @throws OryxError `disk` */
  append(line: string): Promise<void> {
    return onDisk(`write ${this.#path}`, async () => {
      this.#file ??= await this.#begin();
      const bytes = Buffer.from(`${line}\n`);
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, this.#end + done);
        done += bytesWritten;
      }
      await this.#file.datasync();
      this.#end += bytes.length;
    });
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  async #begin(): Promise<FileHandle> {
    const file = await open(this.#path, this.isEmpty ? "w" : "r+");
    try {
      await file.truncate(this.#end);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** In pieces, since only what `take` keeps is needed. */
  async #read(file: FileHandle, take: TakeLine): Promise<void> {
    const piece = Buffer.alloc(1 << 20);
    let rest = Buffer.alloc(0);
    for (let [at, number] = [0, 1]; ; ) {
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      const bytes = Buffer.concat([rest, piece.subarray(0, bytesRead)]);
      let start = 0;
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start), number++) {
        if (!take(bytes.toString("utf8", start, end), number)) return;
        this.#end += end + 1 - start;
        start = end + 1;
      }
      rest = bytes.subarray(start);
      if (rest.length > LIMITS.recordBytes) throw invalidLog(this.#path, `line ${number} is too long`);
    }
  }
}

export const invalidLog = (path: string, problem: string): OryxError =>
  new OryxError(
    "answers_invalid",
    `${shortened(path)}: ${problem}`,
    "give another --out, or remove the file",
  );
