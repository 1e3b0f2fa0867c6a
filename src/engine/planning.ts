import { OryxError, throwIfAborted } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { PromptToken } from "../text/prompt.ts";
import { conversationPrompt, followUpPrompt, type Message, visualQuestion } from "../text/prompt.ts";
import { measureSpeed } from "./calibrate.ts";
import { pictureCount } from "./encode.ts";
import type { KvSlot } from "./kv.ts";
import { headerOf, type OpenedMedia, type OpenMedia, type PlannedMedia } from "./media.ts";
import type { EngineParts } from "./parts.ts";
import { planVisuals } from "./plan.ts";
import type { Budget, Shown } from "./plan-request.ts";
import type { MediaItem, Plan, TurnRequest } from "./request.ts";
import type { Speed } from "./speed.ts";
import { taskQuestion } from "./task.ts";

/** What stands before a turn. */
export interface Before {
  slot: KvSlot;
  /** Tokens of the last answer that the slot does not hold; undefined before the first turn. */
  unfed: readonly number[] | undefined;
  system: string | undefined;
}

/** The answer that a turn wants. */
export interface Wanted {
  /** Tokens at most. */
  tokens: number;
  /** Whether the request named them. */
  isAsked: boolean;
  /** Whether the plan should say what it takes even when no budget needs to know. */
  isTimeTold?: boolean;
}

/** A turn whose every token is known. */
export interface PlannedTurn {
  media: PlannedMedia[];
  prompt: PromptToken[];
  plan: Plan;
}

/** Opens every item, which reads headers and nothing more. When one fails, those before it are closed. */
export async function openAll(
  items: readonly MediaItem[],
  openMedia: OpenMedia,
  signal: AbortSignal | undefined,
): Promise<OpenedMedia[]> {
  if (items.length > LIMITS.mediaPerRequest) {
    const problem = `${items.length} images and videos are more than ${LIMITS.mediaPerRequest}`;
    throw new OryxError("bad_option", problem, "ask about fewer at a time");
  }
  const opened: OpenedMedia[] = [];
  try {
    for (const item of items) {
      throwIfAborted(signal);
      opened.push(await openMedia(item, signal));
    }
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
  return opened;
}

export async function closeAll(opened: readonly OpenedMedia[]): Promise<void> {
  const closing = opened.map((media) => (media.kind === "video" ? media.video.close() : undefined));
  for (const closed of await Promise.allSettled(closing))
    if (closed.status === "rejected") throw closed.reason;
}

/**
 * Plans a turn from headers alone.
 * @throws OryxError `bad_option`, `media_too_large`, `budget_exceeded`, `context_exceeded`, `prompt_invalid`
 */
export async function planTurn(
  parts: EngineParts,
  before: Before,
  request: TurnRequest,
  opened: readonly OpenedMedia[],
  wanted: Wanted,
): Promise<PlannedTurn> {
  const { slot, unfed } = before;
  const cachedTokens = slot.length + (unfed?.length ?? 0);
  const budget = budgetOf(request, slot.capacity, cachedTokens, wanted);
  const isTimed = request.budgetSeconds !== undefined || wanted.isTimeTold === true;
  const speed = isTimed ? await speedOf(parts, request) : undefined;
  const headers = await Promise.all(opened.map((media) => headerOf(media, isTimed)));
  const { items, ...found } = planVisuals(headers, {
    options: request,
    task: request.task,
    limits: parts.views,
    budget,
    cachedTokens,
    speed,
    textTokens: (shown) => promptOf(parts, before, request, shown).length - shown.length,
  });
  const shown = items.map(({ plan, shape }) => ({
    modality: shape.modality,
    pictures: pictureCount({ plan }),
  }));
  const plan: Plan = {
    items: items.map((item) => item.plan),
    visualTokens: items.reduce((n, item) => n + item.plan.visualTokens, 0),
    cachedTokens,
    contextTokens: slot.capacity,
    // The answer's last token is never fed, so it needs no room.
    maxTokens: Math.min(wanted.tokens, slot.capacity - cachedTokens - found.promptTokens + 1),
    ...found,
  };
  const media = items.map((item, i) => ({ opened: opened[i] as OpenedMedia, ...item }));
  return { media, prompt: promptOf(parts, before, request, shown), plan };
}

function promptOf(
  { tokenizer, style }: EngineParts,
  { unfed, system }: Before,
  request: TurnRequest,
  shown: readonly Shown[],
): PromptToken[] {
  const question = taskQuestion(
    request,
    shown.map(({ modality }) => modality),
  );
  const user = visualQuestion(shown, question);
  if (unfed !== undefined) return followUpPrompt(tokenizer, style, [user]);
  const first: Message[] = system === undefined ? [] : [{ role: "system", content: [{ text: system }] }];
  return conversationPrompt(tokenizer, style, [...first, user]);
}

/** Of the context, an answer should find at least as much free as was asked for, up to half; else an eighth. */
const ROOM = { asked: 1 / 2, default: 1 / 8 } as const;

function budgetOf(
  { budgetTokens, budgetSeconds: seconds }: TurnRequest,
  capacity: number,
  cached: number,
  { tokens, isAsked }: Wanted,
): Budget {
  if (budgetTokens !== undefined && !(Number.isInteger(budgetTokens) && budgetTokens > 0)) {
    throw new OryxError("bad_option", `budgetTokens is ${budgetTokens}`, "give a whole number above 0");
  }
  if (seconds !== undefined && !(Number.isFinite(seconds) && seconds > 0)) {
    throw new OryxError("bad_option", `budgetSeconds is ${seconds}`, "give a number above 0");
  }
  const room = Math.max(1, Math.min(tokens, Math.floor(capacity * (isAsked ? ROOM.asked : ROOM.default))));
  const left = (answer: number) => capacity - cached - answer + 1;
  if (budgetTokens !== undefined && budgetTokens < left(1)) {
    const tokens = Math.min(budgetTokens, left(room));
    return { tokens, mostTokens: budgetTokens, tokensBy: "request", seconds };
  }
  return { tokens: left(room), mostTokens: left(1), tokensBy: "context", seconds };
}

/** This machine's speed: as it was measured once, else measured now if a budget needs it. */
async function speedOf(
  { speeds, decoder, encoder }: EngineParts,
  { budgetSeconds, signal }: TurnRequest,
): Promise<Speed | undefined> {
  if (budgetSeconds === undefined) return speeds?.read(signal);
  const measure = () => measureSpeed({ decoder, encoder }, signal);
  return speeds ? speeds.readOrMeasure(measure, signal) : measure();
}
