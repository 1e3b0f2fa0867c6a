import { createHash, type Hash, randomUUID } from "node:crypto";
import { chmod, type FileHandle, lstat, open, readdir, rename, rm, statfs, utimes } from "node:fs/promises";
import { join } from "node:path";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import {
  type ByteCache,
  CACHE_KINDS,
  type CacheKey,
  type CacheKind,
  LARGEST_SHARE,
  totalBytes,
} from "../engine/cache.ts";
import { makeFolder } from "../files/disk.ts";
import { STEP_BYTES } from "../files/hash.ts";

/** A file of the cache. */
export interface CacheEntry extends CacheKey {
  /** Bytes of the file. */
  bytes: number;
  /** When it was written or read last. */
  usedAt: Date;
}

/** What a cache's folder holds, and what was taken out of it. */
export interface Removed {
  entries: number;
  bytes: number;
}

// A file: this, the key's 32 bytes, the content's length as 64 bits, the content, and the SHA-256 of all before it.
const MAGIC = Buffer.from("ORYXCCH1");
const HEADER_BYTES = MAGIC.length + 32 + 8;
const HASH_BYTES = 32;

const NAME = new RegExp(`^(${CACHE_KINDS.join("|")})-([0-9a-f]{64})$`);
const TEMPORARY = /^writing-[0-9a-f-]{36}$/;
/** What other processes have written meanwhile is noticed this late. */
const LOOK_AGAIN_MS = 60_000;
/** How full the cache is after some of it had to go. */
const EVICT_TO = 0.9;
/** Of a small disk, this share is left free. */
const SPARED_SHARE = 0.05;
/** Nobody writes one file for so long: its process has ended. */
const ABANDONED_MS = 3_600_000;

/**
 * A cache in a folder, for any number of processes at once. Files appear whole or not at all; one that is not what
 * was written, or lies under another's name, is removed when it is found. When there is no room, what was used
 * longest ago goes. What is kept comes from pictures, so that nobody but its owner can read it.
 */
export class CacheFolder implements ByteCache {
  readonly dir: string;
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #onProblem: (problem: OryxError) => void;
  #isTold = false;
  /** What there was when the folder was last looked through, and what has been added since. */
  #tally: { bytes: number; entries: number; atMs: number } | undefined;

  /** @param onProblem told once when nothing can be kept, which is no failure of a request */
  constructor(dir: string, maxBytes: number, onProblem: (problem: OryxError) => void = () => {}) {
    this.dir = dir;
    this.#folder = join(dir, "entries");
    this.#maxBytes = maxBytes;
    this.#onProblem = onProblem;
  }

  async read(key: CacheKey, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<boolean> {
    if (!(await this.#isOurs())) return false;
    const path = this.#path(key);
    const isSound = await readEntry(path, key, parts, signal);
    if (isSound === undefined) return false;
    if (isSound) {
      const now = new Date();
      await utimes(path, now, now).catch(() => {}); // another process has just removed it
    } else await rm(path, { force: true }).catch((error) => this.#tell(error));
    return isSound;
  }

  async write(key: CacheKey, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    const bytes = HEADER_BYTES + totalBytes(parts) + HASH_BYTES;
    if (!this.fits(bytes)) return;
    const temporary = join(this.#folder, `writing-${randomUUID()}`);
    try {
      await makeFolder(this.#folder, 0o700);
      if (!(await this.#isOurs()) || !(await this.#makeRoom(bytes))) return;
      await writeEntry(temporary, key, parts, signal);
      await rename(temporary, this.#path(key));
      if (this.#tally) {
        this.#tally.bytes += bytes;
        this.#tally.entries++;
      }
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {}); // is abandoned, then, and removed later
      if (error instanceof OryxError) throw error;
      this.#tell(error);
    }
  }

  fits(bytes: number): boolean {
    return bytes <= LARGEST_SHARE * this.#maxBytes;
  }

  /** What is kept, last used first. @throws OryxError `disk` */
  async list(): Promise<CacheEntry[]> {
    const entries: CacheEntry[] = [];
    for (const name of await this.#names()) {
      const [, kind, digest] = NAME.exec(name) ?? [];
      const found = await lstat(join(this.#folder, name)).catch(() => undefined);
      if (kind === undefined || digest === undefined || !found?.isFile()) continue;
      entries.push({ kind: kind as CacheKind, digest, bytes: found.size, usedAt: found.mtime });
    }
    return entries.sort((a, b) => b.usedAt.getTime() - a.usedAt.getTime());
  }

  /** Removes all that is kept, and nothing else. @throws OryxError `disk` */
  async clear(): Promise<Removed> {
    const entries = await this.list();
    try {
      for (const entry of entries) await rm(this.#path(entry), { force: true });
      for (const name of await this.#names()) {
        if (TEMPORARY.test(name)) await rm(join(this.#folder, name), { force: true });
      }
    } catch (cause) {
      throw problemOf(this.#folder, cause);
    }
    return { entries: entries.length, bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.#folder);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw problemOf(this.#folder, cause);
    }
  }

  #path({ kind, digest }: CacheKey): string {
    return join(this.#folder, `${kind}-${digest}`);
  }

  /** Whether the folder is there and ours alone; in one of somebody else, entries could be anything. */
  async #isOurs(): Promise<boolean> {
    const found = await lstat(this.#folder).catch(() => undefined);
    if (found === undefined) return false;
    const uid = process.getuid?.(); // Windows has none, and keeps a user's folders apart by itself
    try {
      if (!found.isDirectory() || (uid !== undefined && found.uid !== uid)) {
        throw new Error("it belongs to somebody else, or is no folder");
      }
      if (uid !== undefined && (found.mode & 0o077) !== 0) await chmod(this.#folder, 0o700);
      return true;
    } catch (error) {
      this.#tell(error);
      return false;
    }
  }

  /** Sees to it that there is room, on the disk too. @returns whether there is */
  async #makeRoom(bytes: number): Promise<boolean> {
    const now = Date.now();
    const tally = this.#tally;
    const isRoom =
      tally !== undefined &&
      now - tally.atMs < LOOK_AGAIN_MS &&
      tally.bytes + bytes <= this.#maxBytes &&
      tally.entries < LIMITS.cacheFiles;
    if (isRoom && (await this.#lackingBytes(bytes)) <= 0) return true;
    this.#tally = { ...(await this.#evict(bytes)), atMs: now };
    const lacking = await this.#lackingBytes(bytes);
    if (lacking > 0) this.#tell(new Error(`the disk is full: ${lacking} bytes more would have to be free`));
    return lacking <= 0;
  }

  /** What is missing on the disk for so many bytes more, beside what is spared for others; negative where none is. */
  async #lackingBytes(bytes: number): Promise<number> {
    const { bavail, blocks, bsize } = await statfs(this.#folder);
    const spared = Math.min(LIMITS.cacheFreeBytes, SPARED_SHARE * blocks * bsize);
    return Math.ceil(bytes + spared - bavail * bsize);
  }

  /**
   * Removes what killed processes have left and, if there is no room, what was used longest ago: some more than is
   * needed, so that the folder is not looked through for every file.
   */
  async #evict(bytes: number): Promise<{ bytes: number; entries: number }> {
    await this.#removeAbandoned();
    const entries = await this.list();
    let kept = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    const lacking = await this.#lackingBytes(bytes);
    // On a disk that would be too full without all of them, they go in vain.
    const isOfUse = lacking > 0 && lacking <= kept;
    const room = isOfUse ? Math.min(this.#maxBytes, kept + bytes - lacking) : this.#maxBytes;
    if (kept + bytes > room || entries.length >= LIMITS.cacheFiles) {
      const [mostBytes, most] = [EVICT_TO * room, EVICT_TO * LIMITS.cacheFiles];
      while (entries.length > 0 && (kept + bytes > mostBytes || entries.length >= most)) {
        const oldest = entries.pop() as CacheEntry;
        await rm(this.#path(oldest), { force: true });
        kept -= oldest.bytes;
      }
    }
    return { bytes: kept, entries: entries.length };
  }

  async #removeAbandoned(): Promise<void> {
    for (const name of await this.#names()) {
      if (!TEMPORARY.test(name)) continue;
      const path = join(this.#folder, name);
      const found = await lstat(path).catch(() => undefined);
      if (found && Date.now() - found.mtimeMs > ABANDONED_MS) await rm(path, { force: true });
    }
  }

  #tell(cause: unknown): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#onProblem(problemOf(this.#folder, cause));
  }
}

function problemOf(folder: string, cause: unknown): OryxError {
  const problem = `the cache in ${folder} cannot be used: ${cause instanceof Error ? cause.message : cause}`;
  return new OryxError("disk", problem, "set ORYX_CACHE_DIR to another folder, or do without (--no-cache)", {
    cause,
  });
}

function headerOf({ digest }: CacheKey, length: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.write(digest, MAGIC.length, "hex");
  header.writeBigUInt64LE(BigInt(length), HEADER_BYTES - 8);
  return header;
}

/** Fills the parts. @returns whether the file is what was written under the key; undefined when there is none now */
async function readEntry(
  path: string,
  key: CacheKey,
  parts: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<boolean | undefined> {
  const length = totalBytes(parts);
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch {
    return undefined; // or it cannot be opened now, which says nothing of it: too many files are open, say
  }
  try {
    const { size } = await handle.stat();
    if (size !== HEADER_BYTES + length + HASH_BYTES) return false;
    const hash = createHash("sha256");
    const header = Buffer.alloc(HEADER_BYTES);
    if (!(await readPart(handle, header, hash, signal))) return false;
    if (!header.equals(headerOf(key, length))) return false;
    for (const part of parts) if (!(await readPart(handle, part, hash, signal))) return false;
    const written = Buffer.alloc(HASH_BYTES);
    return (await readPart(handle, written, undefined, signal)) && written.equals(hash.digest());
  } catch (error) {
    if (error instanceof OryxError) throw error;
    return false; // a disk that cannot read it will not do so later
  } finally {
    await handle.close();
  }
}

async function readPart(
  handle: FileHandle,
  part: Uint8Array,
  hash: Hash | undefined,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  for (let at = 0; at < part.length; ) {
    throwIfAborted(signal);
    const { bytesRead } = await handle.read(part, at, Math.min(STEP_BYTES, part.length - at), null);
    if (bytesRead === 0) return false;
    hash?.update(part.subarray(at, at + bytesRead));
    at += bytesRead;
  }
  return true;
}

async function writeEntry(
  path: string,
  key: CacheKey,
  parts: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const hash = createHash("sha256");
  const handle = await open(path, "wx", 0o600);
  try {
    for (const part of [headerOf(key, totalBytes(parts)), ...parts]) {
      for (let at = 0; at < part.length; at += STEP_BYTES) {
        throwIfAborted(signal);
        const step = part.subarray(at, at + STEP_BYTES);
        hash.update(step);
        await writeFully(handle, step);
      }
    }
    await writeFully(handle, hash.digest());
  } finally {
    await handle.close();
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at);
    at += bytesWritten;
  }
}
