import type { Hash } from "node:crypto";
import { open } from "node:fs/promises";
import { throwIfAborted } from "../core/errors.ts";
import type { FileRange } from "../core/tensor.ts";
import { onDisk } from "./disk.ts";

/** Bytes read, written or hashed at a time: a few milliseconds, after which others may go on. */
export const STEP_BYTES = 4 * 2 ** 20;

/** A stretch of a file, from `offset`. */
export type Stretch = Pick<FileRange, "offset" | "byteLength">;

const WHOLE: readonly Stretch[] = [{ offset: 0, byteLength: Number.POSITIVE_INFINITY }];

/**
 * Adds a file's bytes, or those of stretches of it one after the other, to a hash.
 * @returns how many there were: fewer than asked for where the file ends before
 * @throws OryxError `disk`, `aborted`
 */
export async function hashInto(
  hash: Hash,
  path: string,
  signal?: AbortSignal,
  stretches: readonly Stretch[] = WHOLE,
): Promise<number> {
  return onDisk(`read ${path}`, async () => {
    const file = await open(path, "r");
    try {
      // Of thousands of small pictures, each would wait for its megabytes to be zeroed.
      const buffer = new Uint8Array(Math.max(1, Math.min(STEP_BYTES, (await file.stat()).size)));
      let bytes = 0;
      for (const { offset, byteLength } of stretches) {
        for (let at = 0; at < byteLength; ) {
          throwIfAborted(signal);
          const length = Math.min(buffer.length, byteLength - at);
          const { bytesRead } = await file.read(buffer, 0, length, offset + at);
          if (bytesRead === 0) break;
          hash.update(buffer.subarray(0, bytesRead));
          at += bytesRead;
          bytes += bytesRead;
        }
      }
      return bytes;
    } finally {
      await file.close();
    }
  });
}
