import { resolve } from "node:path";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { isFolder } from "../files/disk.ts";
import { ModelCache } from "./cache.ts";
import { downloadBlob } from "./download.ts";
import { fetchListing, type HubFile, type Listing } from "./listing.ts";
import { type ModelId, parseModelId, requireModelId } from "./model-id.ts";
import type { HubAccess } from "./request.ts";
import type { HubSettings } from "./settings.ts";

export interface PullProgress {
  /** Path in the repository. */
  file: string;
  bytesDone: number;
  bytesTotal: number;
}

export interface PullOptions extends HubSettings {
  /** Branch, tag or commit, unless the id names one; default "main". */
  revision?: string;
  signal?: AbortSignal | undefined;
  onProgress?: (progress: PullProgress) => void;
  /** Which files to fetch; default: what running the model takes. */
  include?: (path: string) => boolean;
  /** Pause before the first retry, doubled with each; default 500. */
  backoffMs?: number;
  /** A connection that stays silent for this long is dropped and tried again; default 30,000. */
  stallMs?: number;
}

export interface PulledModel {
  /** The snapshot's folder. */
  path: string;
  commit: string;
  /** Paths in the folder, with slashes, sorted. */
  files: string[];
}

/** Files fetched at once: one rarely fills a line, and many only compete. */
const PARALLEL_FILES = 2;

/**
 * The folder of a model: the path itself when it is a folder, else the cached snapshot of ORG/NAME[@REVISION].
 * Never touches the network.
 * @throws OryxError `model_missing`
 */
export async function resolveModel(
  idOrPath: string,
  options: { cacheDir: string; revision?: string },
): Promise<string> {
  if (await isFolder(idOrPath)) return resolve(idOrPath);
  const id = parseModelId(idOrPath, options.revision);
  if (!id) {
    const remedy = "give the folder of a model, or ORG/NAME of a pulled one";
    throw new OryxError("model_missing", `there is no folder ${idOrPath}`, remedy);
  }
  const cache = new ModelCache(options.cacheDir, id);
  const commit = await cache.commitOf(id.revision);
  if (!commit) {
    const problem = `${idOrPath} is neither a folder nor in the cache ${options.cacheDir}`;
    throw new OryxError("model_missing", problem, `run: oryx pull ${idOrPath}`);
  }
  return cache.snapshotPath(commit);
}

/**
 * Fetches a model from the hub into the cache that Python's huggingface_hub shares, as far as it is not there.
 * An interrupted pull goes on where it stopped. Nothing unverified ever appears under a model's name, and the
 * revision is noted last, when everything is there. Offline, it gives what was pulled before.
 * @param modelId ORG/NAME or ORG/NAME@REVISION
 * @throws OryxError `hub_invalid_id`, `hub_not_found`, `hub_denied`, `hub_unreachable`, `hub_corrupt`, `disk`, `aborted`
 */
export async function pull(modelId: string, options: PullOptions): Promise<PulledModel> {
  const id = requireModelId(modelId, options.revision);
  const cache = new ModelCache(options.cacheDir, id);
  if (options.offline) return cachedModel(cache, id);
  const { endpoint, token, signal, stallMs = 30_000, backoffMs = 500 } = options;
  const access: HubAccess = { endpoint, token, signal, stallMs, backoffMs };
  const listing = await fetchListing(id, access);
  const wanted = selectFiles(listing, options.include);
  if (wanted.length === 0) {
    const problem = `${id.org}/${id.name} has no model files at ${id.revision}`;
    throw new OryxError("hub_not_found", problem, "check the id and the revision");
  }
  await cache.begin(listing.commit);
  await fetchMissing(cache, id, listing.commit, wanted, access, options.onProgress);
  await cache.finish(listing.commit);
  await cache.writeRef(id.revision, listing.commit);
  return {
    path: cache.snapshotPath(listing.commit),
    commit: listing.commit,
    files: wanted.map(({ path }) => path).sort(),
  };
}

async function cachedModel(cache: ModelCache, id: ModelId): Promise<PulledModel> {
  const commit = await cache.commitOf(id.revision);
  if (!commit) {
    const problem = `${id.org}/${id.name}@${id.revision} is not in the cache, and the hub is switched off`;
    throw new OryxError("hub_not_found", problem, "unset HF_HUB_OFFLINE and pull it");
  }
  return { path: cache.snapshotPath(commit), commit, files: await cache.files(commit) };
}

/** Settings, tokenizer and weights; not the same weights in PyTorch's .bin, nor a trainer's states. */
function selectFiles({ files }: Listing, include: PullOptions["include"]): HubFile[] {
  if (include) return files.filter(({ path }) => include(path));
  const hasSafetensors = files.some(({ path }) => /^[^/]+\.safetensors$/.test(path));
  return files.filter(
    ({ path }) =>
      /^(config|generation_config|tokenizer|tokenizer_config)\.json$/.test(path) ||
      /^[^/]+\.safetensors(\.index\.json)?$/.test(path) ||
      /^([^/]+\/)?oryx_vit[^/]*\.pth$/.test(path) ||
      (!hasSafetensors && /^[^/]+\.pth$/.test(path)),
  );
}

async function fetchMissing(
  cache: ModelCache,
  { org, name }: ModelId,
  commit: string,
  wanted: readonly HubFile[],
  access: HubAccess,
  onProgress: PullOptions["onProgress"],
): Promise<void> {
  const missing: HubFile[] = [];
  for (const file of wanted) {
    if (await cache.has(commit, file)) report(file, file.size);
    else missing.push(file);
  }
  await cache.requireSpace(missing);
  await inParallel(missing, access.signal, async (file, signal) => {
    const path = file.path.split("/").map(encodeURIComponent).join("/");
    const url = new URL(`${access.endpoint}/${org}/${name}/resolve/${commit}/${path}`);
    const place = { blob: cache.blobPath(file), partial: cache.partialPath(file) };
    await downloadBlob(url, file, place, { ...access, signal }, (done) => report(file, done));
    await cache.show(commit, file);
  });

  function report(file: HubFile, bytesDone: number) {
    onProgress?.({ file: file.path, bytesDone, bytesTotal: file.size });
  }
}

/** Runs an action for every file, a few at once; the first failure stops the others, and is what is thrown. */
async function inParallel(
  files: readonly HubFile[],
  signal: AbortSignal | undefined,
  action: (file: HubFile, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([stop.signal, signal]) : stop.signal;
  const queue = files.values();
  const failures: unknown[] = [];
  const worker = async () => {
    for (const file of queue) {
      if (either.aborted) return;
      await action(file, either).catch((error: unknown) => {
        failures.push(error);
        stop.abort();
      });
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_FILES }, worker));
  if (failures.length > 0) throw failures[0];
  throwIfAborted(signal);
}
