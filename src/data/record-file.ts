import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { shortened } from "../media/file.ts";
import { indexRecords, type RecordIndex } from "./record-index.ts";

/** An indexed file of records, of which only the record that is asked for is read. */
export class RecordFile {
  readonly length: number;
  readonly #index: RecordIndex;
  readonly #handle: FileHandle;

  private constructor(index: RecordIndex, handle: FileHandle) {
    this.#index = index;
    this.#handle = handle;
    this.length = index.starts.length;
  }

  /**
   * @param source a path, or the index of a file, which then is not scanned
   * @throws OryxError `data_invalid` as {@link indexRecords}, and when the file is not the one that was indexed
   */
  static async open(source: string | RecordIndex): Promise<RecordFile> {
    const index = typeof source === "string" ? await indexRecords(source) : source;
    const name = shortened(index.path);
    const handle = await open(index.path).catch((cause: unknown) => {
      throw new OryxError("data_invalid", `${name} cannot be read`, "check the path", { cause });
    });
    const { size } = await handle.stat();
    if (size === index.byteLength) return new RecordFile(index, handle);
    await handle.close();
    throw new OryxError("data_invalid", `${name} has changed since it was indexed`, "start again");
  }

  /** Names a record for people: its file and line. */
  place(number: number): string {
    return `${shortened(basename(this.#index.path))} line ${this.#index.lines[number]}`;
  }

  /** A record as JSON, of which nothing is known yet. @throws OryxError `sample_invalid`, `data_invalid` */
  async read(number: number): Promise<unknown> {
    const bytes = new Uint8Array(this.#checkedLength(number));
    const start = this.#index.starts[number]!;
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await this.#handle
        .read(bytes, done, bytes.length - done, start + done)
        .catch((cause: unknown) => {
          throw new OryxError("data_invalid", "its file cannot be read", "check the disk", { cause });
        });
      if (bytesRead === 0) throw new OryxError("data_invalid", "its file became shorter", "start again");
      done += bytesRead;
    }
    return parsed(bytes);
  }

  #checkedLength(number: number): number {
    const length = this.#index.lengths[number];
    if (length === undefined) throw new RangeError(`record ${number} of ${this.length}`);
    if (length <= LIMITS.recordBytes) return length;
    const problem = `its record has ${length} bytes; ${LIMITS.recordBytes} are allowed`;
    throw new OryxError("sample_invalid", problem, "shorten it; is a quote or a bracket missing?");
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new OryxError("sample_invalid", "its record is not valid JSON in UTF-8", "mend or remove it", {
      cause,
    });
  }
}
