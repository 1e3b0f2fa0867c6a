import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { open, realpath, stat } from "node:fs/promises";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import type { FileRange } from "../core/tensor.ts";
import { type ByteCache, cacheKey } from "../engine/cache.ts";
import type { MediaContent } from "../engine/media.ts";
import type { MediaSource } from "../media/media.ts";

/** A stretch of a file, from `offset`. */
type Range = Pick<FileRange, "offset" | "byteLength">;

/** One call's bytes when hashing: about two milliseconds. */
const STEP_BYTES = 4 * 2 ** 20;

/** File systems tell times this exactly, the coarsest of them: what changed later than that may change unseen. */
const CLOCK_MS = 2000;

/**
 * SHA-256 of files, remembered so that a film of 2 GB is not read again for every question.
 *
 * What is remembered is found by path, device, inode, size, and the times of the last change of content (mtime) and
 * of anything (ctime). Tools may set the first of the two times, but no write leaves the second as it was. A hash of
 * a file that changed within the last two seconds is not remembered: within the clock's step, it could change again
 * and show the same times.
 */
export class ContentHashes {
  readonly #cache: ByteCache;

  constructor(cache: ByteCache) {
    this.#cache = cache;
  }

  /**
   * Hash of a file, or of stretches of it, one after the other.
   * @param same what the file must still be; default: whatever it is now
   * @returns undefined when the file changes meanwhile, or cannot be read: whoever uses it will tell
   * @throws OryxError `aborted`
   */
  async file(
    path: string,
    {
      ranges,
      same,
      signal,
    }: { ranges?: readonly Range[]; same?: Identity | undefined; signal?: AbortSignal | undefined },
  ): Promise<string | undefined> {
    const before = await identityOf(path);
    if (before === undefined || (same !== undefined && same.words !== before.words)) return undefined;
    const key = await cacheKey("hash", before.words, JSON.stringify(ranges ?? "all"));
    const digest = new Uint8Array(32);
    if (before.isSettled && (await this.#cache.read(key, [digest], signal))) return hex(digest);
    try {
      digest.set(
        await hashFile(path, ranges ?? [{ offset: 0, byteLength: Number.POSITIVE_INFINITY }], signal),
      );
    } catch (error) {
      if (error instanceof OryxError) throw error;
      return undefined;
    }
    if ((await identityOf(path))?.words !== before.words) return undefined;
    if (before.isSettled) await this.#cache.write(key, [digest], signal);
    return hex(digest);
  }

  /** What a medium's caches are kept under: its bytes, and nothing of its name. */
  media(source: MediaSource): MediaContent {
    if (typeof source !== "string") {
      const digest = (signal?: AbortSignal) => hashBytes(source.bytes, signal);
      return unchanging(digest);
    }
    let first: Identity | undefined;
    let hash: string | undefined;
    return {
      digest: async (signal) => {
        first = await identityOf(source);
        hash = await this.file(source, { same: first, signal });
        return hash;
      },
      isUnchanged: async (signal) => {
        if (hash === undefined || (await identityOf(source))?.words !== first?.words) return false;
        // One that was written just before could have been written again without a trace.
        return first?.isSettled === true || (await this.file(source, { signal })) === hash;
      },
    };
  }

  /** The same of a list of pictures with their times. */
  frames(frames: readonly { source: MediaSource; timeS?: number | undefined }[]): MediaContent {
    const contents = frames.map(({ source }) => this.media(source));
    return {
      digest: async (signal) => {
        const words: (string | number | null)[] = [];
        for (const [i, content] of contents.entries()) {
          const digest = await content.digest(signal);
          if (digest === undefined) return undefined;
          words.push(digest, frames[i]?.timeS ?? null);
        }
        return hashBytes(Buffer.from(JSON.stringify(words)), signal);
      },
      isUnchanged: async (signal) => {
        for (const content of contents) if (!(await content.isUnchanged(signal))) return false;
        return true;
      },
    };
  }
}

/** Bytes in memory are hashed again: nobody else notes when they change. */
function unchanging(digest: (signal?: AbortSignal) => Promise<string>): MediaContent {
  let first: string | undefined;
  return {
    digest: async (signal) => {
      first = await digest(signal);
      return first;
    },
    isUnchanged: async (signal) => (await digest(signal)) === first,
  };
}

/** What a file is, as far as that can be told without reading it. */
export interface Identity {
  words: string;
  /** It did not change just now. */
  isSettled: boolean;
}

/** Undefined where there is no regular file. */
export async function identityOf(path: string): Promise<Identity | undefined> {
  try {
    const found: BigIntStats = await stat(path, { bigint: true });
    if (!found.isFile()) return undefined;
    const { dev, ino, size, mtimeNs, ctimeNs } = found;
    const words = JSON.stringify([await realpath(path), ...[dev, ino, size, mtimeNs, ctimeNs].map(String)]);
    return { words, isSettled: Date.now() - Number(ctimeNs / 1_000_000n) > CLOCK_MS };
  } catch {
    return undefined;
  }
}

async function hashFile(
  path: string,
  ranges: readonly Range[],
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(STEP_BYTES);
  const handle = await open(path, "r");
  try {
    for (const { offset, byteLength } of ranges) {
      for (let at = 0; at < byteLength; ) {
        throwIfAborted(signal);
        const length = Math.min(buffer.length, byteLength - at);
        const { bytesRead } = await handle.read(buffer, 0, length, offset + at);
        if (bytesRead === 0) break;
        hash.update(buffer.subarray(0, bytesRead));
        at += bytesRead;
      }
    }
  } finally {
    await handle.close();
  }
  return hash.digest();
}

async function hashBytes(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash("sha256");
  for (let at = 0; at < bytes.length; at += STEP_BYTES) {
    throwIfAborted(signal);
    hash.update(bytes.subarray(at, at + STEP_BYTES));
    await new Promise((resolve) => setImmediate(resolve)); // others go on meanwhile
  }
  return hash.digest("hex");
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
