import { LIMITS } from "../core/limits.ts";
import type { PromptToken } from "../text/prompt.ts";
import { bytesOf, type CacheKey, type Caching, cacheKey, totalBytes } from "./cache.ts";
import { pictureCount } from "./encode.ts";
import type { Identified } from "./features.ts";
import type { KvSlot } from "./kv.ts";
import type { EngineParts } from "./parts.ts";

/**
 * Prompts begin with what is shown, and questions come behind it. So a prompt is read in segments that end with an
 * image or video, and the keys and values of each are kept under a key that tells everything up to its end. A
 * further question about the same media finds them, and so does one that adds another medium behind them.
 *
 * Rounding depends on which tokens go through the model together. Segments are therefore read one by one whether or
 * not anything is kept, and what is kept is equal, bit by bit, to what would be computed.
 */
export interface Segment {
  tokens: readonly PromptToken[];
  /** Length, with each visual as the tokens that it becomes. */
  length: number;
  /** Numbers of the visuals in it. */
  visuals: readonly number[];
}

/**
 * Parts a prompt behind its visuals; the last segment is the question. A visual of few tokens stays with what
 * follows it: to read it again is cheap, and short runs of the model are not.
 * @param visualTokens tokens of each visual
 */
export function segmentsOf(prompt: readonly PromptToken[], visualTokens: readonly number[]): Segment[] {
  const segments: Segment[] = [];
  let tokens: PromptToken[] = [];
  let visuals: number[] = [];
  let length = 0;
  for (const token of prompt) {
    tokens.push(token);
    if (typeof token === "number") length++;
    else {
      visuals.push(token.visual);
      length += visualTokens[token.visual] as number;
      if (length < LIMITS.segmentTokens) continue;
      segments.push({ tokens, length, visuals });
      [tokens, visuals, length] = [[], [], 0];
    }
  }
  return tokens.length === 0 ? segments : [...segments, { tokens, length, visuals }];
}

/**
 * Everything that a slot holds, in words: which tokens and media, and which of them went through the model together.
 * Undefined once something is in it that cannot be told, such as a file that changed while it was read.
 */
export type Trail = string | undefined;

/** The trail after a segment. */
export function trailAfter(trail: Trail, { tokens }: Segment, media: readonly Identified[]): Trail {
  if (trail === undefined) return undefined;
  const words: string[] = [];
  for (const token of tokens) {
    if (typeof token === "number") words.push(`${token}`);
    else {
      const key = media[token.visual]?.key;
      if (key === undefined) return undefined;
      words.push(key.digest);
    }
  }
  return `${trail}[${words.join(" ")}]`;
}

/** The trail after tokens that were fed one at a time, as those of an answer are. */
export function trailAfterAnswer(trail: Trail, fed: readonly number[]): Trail {
  return trail === undefined ? undefined : `${trail}${fed.map((id) => `[${id}]`).join("")}`;
}

/** Keys and values of a segment that ends with a visual, and the times of the frames in it, as they are kept. */
export interface Snapshot {
  key: CacheKey;
  /** Of each visual of the segment, in seconds. */
  frameTimesS: Float64Array[];
}

/** Under what a segment is kept; undefined for one without visuals, and where the trail cannot be told. */
export async function snapshotOf(
  segment: Segment,
  trail: Trail,
  media: readonly Identified[],
  { caching, decoder }: Pick<EngineParts, "caching" | "decoder">,
  signal: AbortSignal | undefined,
): Promise<Snapshot | undefined> {
  if (trail === undefined || typeof segment.tokens.at(-1) !== "object") return undefined;
  const model = await caching?.language(signal);
  if (model === undefined) return undefined;
  const key = await cacheKey("kv", model, decoder.chunking, trail);
  const frameTimesS = segment.visuals.map((visual) => {
    const { planned } = media[visual] as Identified;
    return new Float64Array(planned.opened.kind === "video" ? pictureCount(planned) : 0);
  });
  return { key, frameTimesS };
}

/** Puts a kept segment behind what the slot holds. @returns whether it was there; the slot is else as before */
export async function recall(
  slot: KvSlot,
  { length }: Segment,
  { key, frameTimesS }: Snapshot,
  { cache }: Caching,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const rows = slot.room(length);
  if (!(await cache.read(key, [...frameTimesS, ...rows].map(bytesOf), signal))) return false;
  await slot.append(rows);
  return true;
}

/** Keeps the last segment that the slot holds, if that is worth its bytes. @param ms time that it took to compute */
export async function remember(
  slot: KvSlot,
  { length }: Segment,
  { key, frameTimesS }: Snapshot,
  { cache }: Caching,
  ms: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const parts = [...frameTimesS, ...(await slot.read(slot.length - length, length))].map(bytesOf);
  const bytes = totalBytes(parts);
  if (isWorthKeeping(bytes, ms) && cache.fits(bytes)) await cache.write(key, parts, signal);
}

/** Whether keys and values are read back much sooner than they are computed, or are too few to matter. */
export function isWorthKeeping(bytes: number, ms: number): boolean {
  return bytes <= LIMITS.smallSnapshotBytes || bytes <= ms * LIMITS.snapshotBytesPerMs;
}
