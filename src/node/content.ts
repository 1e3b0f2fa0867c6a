import { createHash } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { type ByteCache, cacheKey } from "../engine/cache.ts";
import type { MediaContent } from "../engine/media.ts";
import { hashInto, STEP_BYTES, type Stretch } from "../files/hash.ts";
import type { MediaSource } from "../media/media.ts";

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
    }: { ranges?: readonly Stretch[]; same?: Identity | undefined; signal?: AbortSignal | undefined },
  ): Promise<string | undefined> {
    const before = await identityOf(path);
    if (before === undefined || (same !== undefined && same.words !== before.words)) return undefined;
    const hash = () => hashUnchanged(path, before, signal, ranges);
    return this.#remembered([before], ranges ? JSON.stringify(ranges) : "all", hash, signal);
  }

  /**
   * What a medium's caches are kept under: its bytes, and nothing of its name. Ask for it before the medium is opened:
   * headers are read then and pictures much later, and only a file that stayed the same all the while is what was
   * hashed.
   * @throws OryxError `aborted`
   */
  async media(source: MediaSource, signal?: AbortSignal): Promise<MediaContent> {
    const before = await beforeOpening(source, signal);
    return {
      digest: (s) => this.#remembered([before.identity], "all", () => hashOf(before, s), s),
      isUnchanged: (s) => isUnchanged(before, s),
    };
  }

  /**
   * The same of a list of pictures with their times. One hash is remembered of them all: each by itself, those of a few
   * lists of some thousand pictures would drive everything else out of the cache.
   */
  async frames(
    frames: readonly { source: MediaSource; timeS?: number | undefined }[],
    signal?: AbortSignal,
  ): Promise<MediaContent> {
    const pictures: Before[] = [];
    for (const { source } of frames) {
      throwIfAborted(signal);
      pictures.push(await beforeOpening(source, signal));
    }
    const identities = pictures.map(({ identity }) => identity);
    const times = frames.map(({ timeS }) => timeS ?? null);
    return {
      digest: async (s) => {
        const hash = await this.#remembered(identities, "list", () => hashOfAll(pictures, s), s);
        return hash && hashBytes(Buffer.from(JSON.stringify([hash, times])), s);
      },
      isUnchanged: async (s) => {
        for (const picture of pictures) if (!(await isUnchanged(picture, s))) return false;
        return true;
      },
    };
  }

  /** The hash that is remembered of files that are these; else the one that is made, remembered if they are at rest. */
  async #remembered(
    files: readonly (Identity | undefined)[],
    what: string,
    make: () => Promise<string | undefined>,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    if (!files.every((file) => file?.isSettled)) return make();
    const key = await cacheKey("hash", ...files.map((file) => file?.words ?? ""), what);
    const digest = Buffer.alloc(32);
    if (await this.#cache.read(key, [digest], signal)) return digest.toString("hex");
    const made = await make();
    if (made !== undefined) await this.#cache.write(key, [Buffer.from(made, "hex")], signal);
    return made;
  }
}

/** What a medium was before it was opened. */
interface Before {
  source: MediaSource;
  /** Undefined of bytes in memory, and of what is no file or did not stay the same for as long as it took to read it. */
  identity?: Identity | undefined;
  /** Of what could change without a trace: bytes in memory, and a file that was written just now. */
  hash?: string | undefined;
}

async function beforeOpening(source: MediaSource, signal: AbortSignal | undefined): Promise<Before> {
  if (typeof source !== "string") return { source, hash: await hashBytes(source.bytes, signal) };
  const identity = await identityOf(source);
  if (identity === undefined || identity.isSettled) return { source, identity };
  const hash = await hashUnchanged(source, identity, signal);
  return hash === undefined ? { source } : { source, identity, hash };
}

/** Hash of what a medium was; undefined when it is that no longer. */
async function hashOf(
  { source, identity, hash }: Before,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  if (hash !== undefined || typeof source !== "string" || identity === undefined) return hash;
  return hashUnchanged(source, identity, signal);
}

async function hashOfAll(
  pictures: readonly Before[],
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const all = createHash("sha256");
  for (const picture of pictures) {
    const hash = await hashOf(picture, signal);
    if (hash === undefined) return undefined;
    all.update(hash);
  }
  return all.digest("hex");
}

async function isUnchanged({ source, identity, hash }: Before, signal?: AbortSignal): Promise<boolean> {
  if (typeof source !== "string") return (await hashBytes(source.bytes, signal)) === hash;
  if (identity === undefined || (await identityOf(source))?.words !== identity.words) return false;
  // One that was written just before could have been written again without a trace.
  return identity.isSettled || (await hashUnchanged(source, identity, signal)) === hash;
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

/** Hash of a file, or of stretches of it; undefined when it is not or does not stay what it was, or cannot be read. */
async function hashUnchanged(
  path: string,
  { words }: Identity,
  signal?: AbortSignal,
  ranges?: readonly Stretch[],
): Promise<string | undefined> {
  const hash = createHash("sha256");
  try {
    await hashInto(hash, path, signal, ranges);
  } catch (error) {
    if (error instanceof OryxError && error.code === "disk") return undefined;
    throw error;
  }
  return (await identityOf(path))?.words === words ? hash.digest("hex") : undefined;
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
