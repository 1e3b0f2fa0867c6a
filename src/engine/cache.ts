/** What is kept: rows of encoded media, keys and values of a prompt's beginning, the hash of a file, or a model's speed. */
export const CACHE_KINDS = ["features", "kv", "hash", "speed"] as const;
export type CacheKind = (typeof CACHE_KINDS)[number];

/** Under what bytes are kept: everything that decides them, hashed. */
export interface CacheKey {
  kind: CacheKind;
  /** SHA-256 in 64 hex digits. */
  digest: string;
}

/**
 * Keeps byte strings by key for as long as there is room. What is kept may be gone at any time, but it never is
 * another than what was written.
 */
export interface ByteCache {
  /**
   * Fills the parts, one after the other, with the bytes that lie under a key.
   * @returns false when no sound bytes of just that length lie there; the parts may then hold anything.
   * @throws OryxError `aborted`
   */
  read(key: CacheKey, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<boolean>;
  /** Keeps the parts' bytes, one after the other, if there is room. @throws OryxError `aborted` */
  write(key: CacheKey, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void>;
  /** Whether a byte string of this length could be kept. */
  fits(bytes: number): boolean;
}

/** What an engine keeps from one request to the next, and the hashes that tell its model from others. */
export interface Caching {
  cache: ByteCache;
  /**
   * Hash of all that decides the rows of a picture: graph, weights, device; undefined where that cannot be told.
   * @throws OryxError `aborted`
   */
  vision: (signal?: AbortSignal) => Promise<string | undefined>;
  /** The same of keys and values. */
  language: (signal?: AbortSignal) => Promise<string | undefined>;
}

/** One entry may take this share of a cache, so that it does not drive out all others. */
export const LARGEST_SHARE = 0.5;

/** Changes with every change of what is cached or how: entries of other versions are not found, and age out. */
const VERSION = 3;

/** The key of something that the given words decide. */
export async function cacheKey(kind: CacheKind, ...words: readonly (string | number)[]): Promise<CacheKey> {
  return { kind, digest: await sha256(new TextEncoder().encode(JSON.stringify([VERSION, kind, ...words]))) };
}

/** SHA-256 of bytes in 64 hex digits, computed beside the event loop. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The memory of an array of numbers as bytes. */
export function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

export const totalBytes = (parts: readonly Uint8Array[]): number =>
  parts.reduce((sum, part) => sum + part.length, 0);

/** A cache in memory. When it is full, what was used longest ago goes. */
export class MemoryCache implements ByteCache {
  readonly #maxBytes: number;
  /** In the order of last use. */
  readonly #entries = new Map<string, Uint8Array>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  async read({ digest }: CacheKey, parts: readonly Uint8Array[]): Promise<boolean> {
    const found = this.#entries.get(digest);
    if (found?.length !== totalBytes(parts)) return false;
    this.#entries.delete(digest);
    this.#entries.set(digest, found);
    let at = 0;
    for (const part of parts) {
      part.set(found.subarray(at, at + part.length));
      at += part.length;
    }
    return true;
  }

  async write({ digest }: CacheKey, parts: readonly Uint8Array[]): Promise<void> {
    const bytes = totalBytes(parts);
    this.#forget(digest);
    if (!this.fits(bytes)) return;
    for (const [oldest] of this.#entries) {
      if (this.#bytes + bytes <= this.#maxBytes) break;
      this.#forget(oldest);
    }
    const kept = new Uint8Array(bytes);
    let at = 0;
    for (const part of parts) {
      kept.set(part, at);
      at += part.length;
    }
    this.#entries.set(digest, kept);
    this.#bytes += bytes;
  }

  fits(bytes: number): boolean {
    return bytes <= LARGEST_SHARE * this.#maxBytes;
  }

  #forget(digest: string): void {
    this.#bytes -= this.#entries.get(digest)?.length ?? 0;
    this.#entries.delete(digest);
  }
}

/** Two caches as one: the near one is asked first, and is given what only the far one has. */
export class TwoCaches implements ByteCache {
  readonly #near: ByteCache;
  readonly #far: ByteCache;

  constructor(near: ByteCache, far: ByteCache) {
    this.#near = near;
    this.#far = far;
  }

  async read(key: CacheKey, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<boolean> {
    if (await this.#near.read(key, parts, signal)) return true;
    if (!(await this.#far.read(key, parts, signal))) return false;
    await this.#near.write(key, parts, signal);
    return true;
  }

  async write(key: CacheKey, parts: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    await this.#near.write(key, parts, signal);
    await this.#far.write(key, parts, signal);
  }

  fits(bytes: number): boolean {
    return this.#near.fits(bytes) || this.#far.fits(bytes);
  }
}
