import { z } from "zod";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { ModelId } from "./model-id.ts";
import { connectionError, type HubAccess, hubGet, withRetries } from "./request.ts";

/** A file of a model, as the hub announces it. */
export interface HubFile {
  /** Path in the repository, with slashes. */
  path: string;
  /** Bytes. */
  size: number;
  /** Name of its blob in the cache, and the proof of its content: SHA-256, or git's SHA-1 for a small file. */
  etag: string;
}

export interface Listing {
  /** Commit that the revision names now. */
  commit: string;
  files: HubFile[];
}

const size = z.int().nonnegative();
const Sibling = z.object({
  rfilename: z.string(),
  size: size.optional(),
  blobId: z
    .string()
    .regex(/^[0-9a-f]{40}$/)
    .optional(),
  lfs: z.object({ size, sha256: z.string().regex(/^[0-9a-f]{64}$/) }).nullish(),
});
const Answer = z.object({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(Sibling).max(LIMITS.hubFiles),
});

/**
 * Asks the hub which commit a revision is and what files it has, in one request, so that both belong together.
 * @throws OryxError `hub_unreachable`, `hub_denied`, `hub_not_found`, `hub_corrupt`, `aborted`
 */
export async function fetchListing(id: ModelId, access: HubAccess): Promise<Listing> {
  const revision = encodeURIComponent(id.revision);
  const url = new URL(`${access.endpoint}/api/models/${id.org}/${id.name}/revision/${revision}?blobs=true`);
  const text = await withRetries(access, () => fetchText(url, access));
  return parseListing(text);
}

/** @throws OryxError `hub_corrupt` when the hub's answer is not a listing, or names files outside its folder. */
export function parseListing(text: string): Listing {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw corrupt("it is not JSON", cause);
  }
  const { success, data, error } = Answer.safeParse(json);
  if (!success) throw corrupt(`${error.issues[0]?.path.join(".")}: ${error.issues[0]?.message}`, error);
  const files = data.siblings.map(({ rfilename, size, blobId, lfs }): HubFile => {
    if (!isSafePath(rfilename)) throw corrupt(`the file name ${JSON.stringify(rfilename)} is not allowed`);
    const etag = lfs?.sha256 ?? blobId;
    const bytes = lfs?.size ?? size;
    if (etag === undefined || bytes === undefined) throw corrupt(`${rfilename} has no hash or no size`);
    return { path: rfilename, size: bytes, etag };
  });
  return { commit: data.sha, files };
}

/** Whether a path stays inside its folder on every system. */
function isSafePath(path: string): boolean {
  const segments = path.split("/");
  return segments.every(
    (name) => name !== "" && name.length <= 200 && !/^\.{1,2}$/.test(name) && !UNSAFE.test(name),
  );
}

/** Backslashes and colons lead elsewhere on Windows; control characters lie to terminals. */
const UNSAFE = /[\\:\p{Cc}]/u;

async function fetchText(url: URL, access: HubAccess): Promise<string> {
  const timeout = AbortSignal.timeout(access.stallMs);
  const signal = access.signal ? AbortSignal.any([timeout, access.signal]) : timeout;
  const response = await hubGet(url, access, signal);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > LIMITS.hubAnswerBytes) throw corrupt("it is too long");
      chunks.push(chunk);
    }
  } catch (cause) {
    throw cause instanceof OryxError ? cause : connectionError(url, access, cause);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function corrupt(problem: string, cause?: unknown): OryxError {
  const remedy = "check that HF_ENDPOINT is a hub";
  return new OryxError("hub_corrupt", `the hub's list of files makes no sense: ${problem}`, remedy, {
    cause,
  });
}
