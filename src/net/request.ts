import { setTimeout as sleep } from "node:timers/promises";
import { OryxError, throwIfAborted } from "../core/errors.ts";

/** How to talk to a hub. */
export interface HubAccess {
  endpoint: string;
  token?: string | undefined;
  signal?: AbortSignal | undefined;
  /** A connection that stays silent for this long counts as dropped. */
  stallMs: number;
  /** Pause before the first retry; it doubles with each further one. */
  backoffMs: number;
}

const MAX_REDIRECTS = 5;
const MAX_FAILURES_IN_A_ROW = 5;
const MAX_BACKOFF_MS = 10_000;

/**
 * GET with our own redirect handling, so that the token goes to the endpoint's origin only: downloads are redirected
 * to other hosts, which must not learn it. Bodies come unencoded, since ranges and sizes count stored bytes.
 * @throws OryxError `hub_unreachable` (worth a retry), `hub_denied`, `hub_not_found`, `aborted`
 */
export async function hubGet(
  url: URL,
  access: HubAccess,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const home = new URL(access.endpoint).origin;
  let target = url;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const isHome = target.origin === home;
    const response = await send(target, access, signal, {
      ...headers,
      "accept-encoding": "identity",
      ...(isHome && access.token ? { authorization: `Bearer ${access.token}` } : {}),
    });
    // 416: the server's content is shorter than what is already here, which the caller has to sort out.
    if (response.status < 300 || response.status === 416) return response;
    await response.body?.cancel().catch(() => undefined);
    const location = response.headers.get("location");
    if (response.status >= 400 || location === null) throw refusal(response, target, isHome);
    target = redirectTarget(location, target);
  }
  throw unreachable(`${url.host} redirects in circles`);
}

async function send(url: URL, access: HubAccess, signal: AbortSignal, headers: Record<string, string>) {
  try {
    return await fetch(url, { redirect: "manual", signal, headers });
  } catch (cause) {
    throw connectionError(url, access, cause);
  }
}

/** What a failed fetch or a broken body means: the caller's abort, or a connection worth another try. */
export function connectionError(url: URL, access: HubAccess, cause: unknown): OryxError {
  throwIfAborted(access.signal);
  const reason = (cause as { cause?: { message?: string } }).cause?.message ?? (cause as Error).message;
  return unreachable(`no connection to ${url.host}: ${reason}`, cause);
}

export function unreachable(problem: string, cause?: unknown): OryxError {
  const remedy = "check the network and HF_ENDPOINT; HF_HUB_OFFLINE=1 uses what is cached";
  return new OryxError("hub_unreachable", problem, remedy, { cause });
}

function redirectTarget(location: string, from: URL): URL {
  if (!URL.canParse(location, from.href)) throw unreachable(`${from.host} redirects to no URL`);
  const target = new URL(location, from);
  const isSafe = target.protocol === "https:" || (target.protocol === "http:" && from.protocol === "http:");
  if (!isSafe) throw unreachable(`${from.host} redirects to an unsafe address (${target.protocol})`);
  return target;
}

function refusal(response: Response, url: URL, isHome: boolean): OryxError {
  const { status } = response;
  const says = `${url.host} answered ${status} for ${url.pathname}`;
  // A download host refuses with 403 when its signed address has expired; asking the hub again renews it.
  if (!isHome && status === 403) return unreachable(says);
  const error = response.headers.get("x-error-code") ?? "";
  if (status === 404 || status === 410 || error === "RepoNotFound") {
    const remedy = "check the id, revision and spelling; a private model needs HF_TOKEN";
    return new OryxError("hub_not_found", says, remedy);
  }
  if (status === 401 || status === 403) {
    const remedy = "set HF_TOKEN to a token that may read this model, and accept its terms on the hub";
    return new OryxError("hub_denied", says, remedy);
  }
  return unreachable(says);
}

/**
 * Runs an attempt, and again after connection failures with growing pauses, until too many fail in a row.
 * @param progress a number that grows while an attempt gets somewhere; growth starts the count of failures anew.
 */
export async function withRetries<T>(
  access: HubAccess,
  attempt: () => Promise<T>,
  progress: () => number = () => 0,
): Promise<T> {
  let reached = progress();
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof OryxError) || error.code !== "hub_unreachable") throw error;
      if (progress() > reached) failures = 1;
      reached = progress();
      if (failures >= MAX_FAILURES_IN_A_ROW) throw error;
      await pause(Math.min(access.backoffMs * 2 ** (failures - 1), MAX_BACKOFF_MS), access.signal);
    }
  }
}

/** Waits. @throws OryxError `aborted` */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal ? { signal } : {}).catch(() => undefined);
  throwIfAborted(signal);
}
