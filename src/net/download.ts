import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { withLock } from "../files/lock.ts";
import { hasSize, inCache } from "./cache.ts";
import type { HubFile } from "./listing.ts";
import { connectionError, type HubAccess, hubGet, unreachable, withRetries } from "./request.ts";

/**
 * Downloads a file's content to `place.blob` by way of `place.partial`, checked against the announced size and hash. What an earlier try left
 * behind is continued; broken connections are taken up where they broke. The blob appears whole or not at all.
 * @param onBytes bytes that are now here, after each step.
 * @throws OryxError `hub_corrupt`, `hub_unreachable`, `hub_denied`, `hub_not_found`, `disk`, `aborted`
 */
export async function downloadBlob(
  url: URL,
  file: HubFile,
  place: { blob: string; partial: string },
  access: HubAccess,
  onBytes: (bytesDone: number) => void,
): Promise<void> {
  await withLock(`${place.blob}.oryx.lock`, { signal: access.signal }, async () => {
    // Whoever held the lock before may have fetched it.
    if (await hasSize(place.blob, file.size)) return;
    const partial = await PartialBlob.open(place.partial, file, access.signal);
    try {
      const wasContinued = partial.bytesDone > 0;
      await fetchRest(url, partial, access, onBytes);
      if (!partial.isRight() && wasContinued) {
        // The old bytes may have been the wrong ones.
        await partial.restart();
        await fetchRest(url, partial, access, onBytes);
      }
      if (!partial.isRight()) {
        await partial.restart();
        throw corrupt(file, "its hash is another than the hub announced");
      }
      await partial.moveTo(place.blob);
    } finally {
      await partial.close();
    }
  });
  onBytes(file.size);
}

async function fetchRest(
  url: URL,
  partial: PartialBlob,
  access: HubAccess,
  onBytes: (bytesDone: number) => void,
) {
  const version: Version = { etag: undefined, changes: 0 };
  onBytes(partial.bytesDone);
  const attempt = () => fetchOnce(url, partial, version, access, onBytes);
  await withRetries(access, attempt, () => partial.bytesDone);
}

/** What the server says about the content that a download began with. */
interface Version {
  etag: string | undefined;
  changes: number;
}

const MAX_CHANGES = 3;

/** One connection: asks for what is missing and appends it. */
async function fetchOnce(
  url: URL,
  partial: PartialBlob,
  version: Version,
  access: HubAccess,
  onBytes: (bytesDone: number) => void,
): Promise<void> {
  const { file } = partial;
  if (partial.bytesDone === file.size) return;
  const stall = new AbortController();
  const timer = setTimeout(() => stall.abort(new Error(`silent for ${access.stallMs} ms`)), access.stallMs);
  const signal = access.signal ? AbortSignal.any([stall.signal, access.signal]) : stall.signal;
  try {
    const response = await hubGet(url, access, signal, rangeHeaders(partial.bytesDone, version));
    await alignWith(response, partial, version);
    for await (const chunk of response.body ?? []) {
      timer.refresh();
      if (partial.bytesDone + chunk.length > file.size)
        throw corrupt(file, "it is longer than the hub announced");
      await partial.append(chunk);
      onBytes(partial.bytesDone);
    }
  } catch (cause) {
    throw cause instanceof OryxError ? cause : connectionError(url, access, cause);
  } finally {
    clearTimeout(timer);
    stall.abort();
  }
  if (partial.bytesDone < file.size) throw unreachable(`${url.host} ended ${file.path} early`);
}

function rangeHeaders(bytesDone: number, { etag }: Version): Record<string, string> {
  if (bytesDone === 0) return {};
  // A weak tag does not promise equal bytes, and If-Range may not carry one.
  const condition = etag && !etag.startsWith("W/") ? { "if-range": etag } : {};
  return { range: `bytes=${bytesDone}-`, ...condition };
}

/** Makes the partial file end where the response begins, so that two contents are never stitched together. */
async function alignWith(response: Response, partial: PartialBlob, version: Version): Promise<void> {
  const { file, bytesDone } = partial;
  const etag = response.headers.get("etag") ?? undefined;
  const isChanged = version.etag !== undefined && etag !== version.etag;
  version.etag = etag;
  if (response.status === 200) {
    const length = response.headers.get("content-length");
    const isEncoded = response.headers.has("content-encoding");
    if (length !== null && !isEncoded && Number(length) !== file.size) {
      throw corrupt(file, `it has ${length} bytes, and the hub announced ${file.size}`);
    }
    if (bytesDone > 0) await partial.restart();
    return;
  }
  const [, start, total] =
    /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "") ?? [];
  const continues = response.status === 206 && Number(start) === bytesDone;
  if (continues && !isChanged && (total === "*" || Number(total) === file.size)) return;
  await partial.restart();
  version.changes++;
  if (version.changes > MAX_CHANGES) throw corrupt(file, "it changes while it is downloaded");
  throw unreachable(`${file.path} changed on the server`);
}

/** A download under way: a file, and the hash of what is in it. */
class PartialBlob {
  readonly file: HubFile;
  readonly #path: string;
  readonly #handle: FileHandle;
  #hash: Hash;
  #bytesDone = 0;

  private constructor(path: string, handle: FileHandle, file: HubFile) {
    this.file = file;
    this.#path = path;
    this.#handle = handle;
    this.#hash = startHash(file);
  }

  /** Opens what an earlier download left, or an empty file. */
  static async open(path: string, file: HubFile, signal?: AbortSignal): Promise<PartialBlob> {
    return inCache(`open ${path}`, async () => {
      const handle = await open(path, constants.O_RDWR | constants.O_CREAT);
      const partial = new PartialBlob(path, handle, file);
      try {
        await partial.#readBack(signal);
      } catch (error) {
        await handle.close();
        throw error;
      }
      return partial;
    });
  }

  get bytesDone(): number {
    return this.#bytesDone;
  }

  async #readBack(signal: AbortSignal | undefined): Promise<void> {
    const { size } = await this.#handle.stat();
    if (size > this.file.size) return this.restart();
    const buffer = new Uint8Array(READ_BYTES);
    while (this.#bytesDone < size) {
      throwIfAborted(signal);
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.#bytesDone);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#bytesDone += bytesRead;
    }
  }

  async append(chunk: Uint8Array): Promise<void> {
    await inCache(`write ${this.#path}`, async () => {
      for (let written = 0; written < chunk.length; ) {
        const at = this.#bytesDone + written;
        written += (await this.#handle.write(chunk, written, chunk.length - written, at)).bytesWritten;
      }
    });
    this.#hash.update(chunk);
    this.#bytesDone += chunk.length;
  }

  async restart(): Promise<void> {
    await inCache(`empty ${this.#path}`, () => this.#handle.truncate(0));
    this.#hash = startHash(this.file);
    this.#bytesDone = 0;
  }

  /** Whether the whole content is here, and the announced one. */
  isRight(): boolean {
    return this.#bytesDone === this.file.size && this.#hash.copy().digest("hex") === this.file.etag;
  }

  /** Makes it the blob, once its bytes are safely on disk. */
  async moveTo(blobPath: string): Promise<void> {
    await inCache(`finish ${blobPath}`, async () => {
      await this.#handle.sync();
      await rename(this.#path, blobPath);
    });
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

const READ_BYTES = 1 << 20;

/** SHA-256 of the content, or git's SHA-1 of a blob, whichever the etag is. */
function startHash({ etag, size }: HubFile): Hash {
  return etag.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

function corrupt({ path }: HubFile, problem: string): OryxError {
  return new OryxError(
    "hub_corrupt",
    `${path} is damaged: ${problem}`,
    "pull it again, or try another HF_ENDPOINT",
  );
}
