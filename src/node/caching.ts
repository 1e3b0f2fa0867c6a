import { createHash } from "node:crypto";
import { cpus } from "node:os";
import { resolve } from "node:path";
import type { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { FileRange } from "../core/tensor.ts";
import { type ByteCache, type Caching, MemoryCache, TwoCaches } from "../engine/cache.ts";
import { installedLibrary } from "../runtime/node/library.ts";
import type { Device, RuntimeModel } from "../runtime/session.ts";
import { CacheFolder } from "./cache-folder.ts";
import { ContentHashes, type Identity, identityOf } from "./content.ts";
import { versions } from "./versions.ts";

/** Where to keep what was made of images and videos, and how much of it. */
export interface CacheOptions {
  /** Folder of the cache; default: ORYX_CACHE_DIR, else `oryx` in the system's folder for caches. */
  dir?: string | undefined;
  /** Bytes on disk, at most; default 10 GB. */
  maxBytes?: number | undefined;
  /** Bytes in memory, at most; default 256 MB. */
  memoryBytes?: number | undefined;
  /** Told once when the folder cannot be used; requests go on without it. */
  onProblem?: ((problem: OryxError) => void) | undefined;
}

/** The graphs that a model was loaded from, and what computes them. */
export interface ModelGraphs {
  vision: readonly RuntimeModel[];
  language: readonly RuntimeModel[];
  device: Device;
  libraryPath?: string | undefined;
  /** What the files were before they were loaded: those that replaced one of them are another model's. */
  files: ReadonlyMap<string, Identity | undefined>;
}

/** What files are now, by their paths. */
export async function identities(paths: readonly string[]): Promise<Map<string, Identity | undefined>> {
  const found = await Promise.all(paths.map(async (path) => [path, await identityOf(path)] as const));
  return new Map(found);
}

/** The caches of one process. */
export interface NodeCaching extends Caching {
  hashes: ContentHashes;
}

/** Caches in memory and on disk, for a loaded model. Nothing is read or written yet. */
export function openCaching(dir: string, options: CacheOptions, graphs: ModelGraphs): NodeCaching {
  const { maxBytes = LIMITS.cacheBytes, memoryBytes = LIMITS.cacheMemoryBytes, onProblem } = options;
  const cache: ByteCache = new TwoCaches(
    new MemoryCache(memoryBytes),
    new CacheFolder(resolve(dir), maxBytes, onProblem),
  );
  const hashes = new ContentHashes(cache);
  return {
    cache,
    hashes,
    vision: once((signal) => modelHash(graphs.vision, graphs, hashes, signal)),
    language: once((signal) => modelHash(graphs.language, graphs, hashes, signal)),
  };
}

/** The result of the first call that succeeds. */
function once<T>(work: (signal?: AbortSignal) => Promise<T>): (signal?: AbortSignal) => Promise<T> {
  let found: { value: T } | undefined;
  return async (signal) => {
    found ??= { value: await work(signal) };
    return found.value;
  };
}

/**
 * Hash of all that decides a model's results to the last bit: its graphs, which tell shapes, storage and the type of
 * the cache; its weights; the library, the processor and the versions of all that computes. Threads are not among it:
 * they share out rows, not sums.
 * @returns undefined when a file is not what was loaded
 */
async function modelHash(
  models: readonly RuntimeModel[],
  { device, libraryPath = installedLibrary(), files }: ModelGraphs,
  hashes: ContentHashes,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const hash = createHash("sha256").update(
    JSON.stringify([device, process.arch, cpus()[0]?.model, versions()]),
  );
  const library = await hashes.file(libraryPath, { signal });
  if (library === undefined) return undefined;
  hash.update(library);
  for (const { onnx, weights } of models) {
    hash.update(onnx);
    const ranges = new Map<string, FileRange[]>();
    for (const [name, { dtype, shape, bytes }] of weights) {
      hash.update(JSON.stringify([name, dtype, shape]));
      if (bytes instanceof Uint8Array) hash.update(bytes);
      else ranges.set(bytes.path, [...(ranges.get(bytes.path) ?? []), bytes]);
    }
    // Of each file its stretches at once, which is one pass over it.
    for (const [path, stretches] of ranges) {
      const places = stretches.map(({ offset, byteLength }) => ({ offset, byteLength }));
      const same = files.get(path);
      const found = same && (await hashes.file(path, { ranges: places, same, signal }));
      if (found === undefined) return undefined;
      hash.update(found);
    }
  }
  return hash.digest("hex");
}
