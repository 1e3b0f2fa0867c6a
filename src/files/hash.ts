import type { Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { throwIfAborted } from "../core/errors.ts";
import { onDisk } from "./disk.ts";

/** Adds a file's bytes to a hash. @throws OryxError `disk`, `aborted` */
export async function hashInto(hash: Hash, path: string, signal?: AbortSignal): Promise<void> {
  await onDisk(`read ${path}`, async () => {
    for await (const bytes of createReadStream(path, { highWaterMark: 2 ** 20 })) {
      throwIfAborted(signal);
      hash.update(bytes as Buffer);
    }
  });
}
