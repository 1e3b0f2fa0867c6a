import { type FileHandle, open } from "node:fs/promises";
import { DTYPE_BYTES } from "../core/dtype.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { malformed } from "../weights/faults.ts";

/** The files of the source, each opened once. */
export class SourceFiles {
  readonly #handles = new Map<string, Promise<FileHandle>>();

  /**
   * Reads elements of a tensor into the beginning of a buffer.
   * @returns the part of the buffer that was filled
   * @throws OryxError `weights_malformed` when the file cannot be read or has become shorter
   */
  async read(
    { dtype, bytes }: StoredTensor,
    first: number,
    count: number,
    into: Uint8Array,
  ): Promise<Uint8Array> {
    const [from, length] = [first * DTYPE_BYTES[dtype], count * DTYPE_BYTES[dtype]];
    if (bytes instanceof Uint8Array) {
      into.set(bytes.subarray(from, from + length));
      return into.subarray(0, length);
    }
    const handle = await this.#open(bytes.path);
    for (let done = 0; done < length; ) {
      const place = bytes.offset + from + done;
      const { bytesRead } = await handle.read(into, done, length - done, place).catch((cause) => {
        throw malformed(bytes.path, "cannot be read", cause);
      });
      if (bytesRead === 0) throw malformed(bytes.path, "the file has become shorter");
      done += bytesRead;
    }
    return into.subarray(0, length);
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.values()) await (await handle.catch(() => undefined))?.close();
    this.#handles.clear();
  }

  #open(path: string): Promise<FileHandle> {
    const found = this.#handles.get(path);
    if (found) return found;
    const opened = open(path, "r").catch((cause) => {
      throw malformed(path, "cannot be opened", cause);
    });
    this.#handles.set(path, opened);
    return opened;
  }
}
