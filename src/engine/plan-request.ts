import { OryxError } from "../core/errors.ts";
import { count } from "../core/figures.ts";
import type { ViewLimits } from "../model/views.ts";
import type { Modality } from "../model/visual.ts";
import type { PlannedItem } from "./plan-item.ts";
import type { VisualOptions } from "./request.ts";
import type { Seconds, Speed } from "./speed.ts";
import type { Task } from "./task.ts";

/** What a prompt may take. */
export interface Budget {
  /** Tokens with which the answer still has the room that it should have. */
  tokens: number;
  /** Tokens at the very most, when nothing fits into those: the answer then has less room. */
  mostTokens: number;
  /** Whether the request or the model's context sets the most. */
  tokensBy: "request" | "context";
  /** Seconds until the first token. */
  seconds?: number | undefined;
}

/** As much of an item as the prompt's text depends on. */
export interface Shown {
  modality: Modality;
  pictures: number;
}

export interface PlanRequest {
  options: VisualOptions;
  task?: Task | undefined;
  limits: ViewLimits;
  budget: Budget;
  /** Tokens that the conversation holds already. */
  cachedTokens: number;
  /** This machine's speed; a budget of seconds needs it. */
  speed?: Speed | undefined;
  /** Tokens of the prompt's text, which may name the number of frames. */
  textTokens: (shown: readonly Shown[]) => number;
}

/** What will be shown to the model, and why just that. */
export interface VisualPlan {
  items: PlannedItem[];
  promptTokens: number;
  /** What it will take on this machine, where its speed is known. */
  seconds?: Seconds | undefined;
  /** Whether anything is less than the paper's rules and the request would have it. */
  isReduced: boolean;
  /** Sentences. */
  reasons: string[];
}

/** What gives way: frames down to a share of them, k up to 4, or the size down to the least. */
export type Sacrifice = { of: "frames"; to: number } | { of: "k" } | { of: "size" };

const BALANCED: readonly Sacrifice[] = [
  { of: "frames", to: 1 / 2 },
  { of: "k" },
  { of: "size" },
  { of: "frames", to: 0 },
];
const DETAIL: readonly Sacrifice[] = [
  { of: "frames", to: 1 / 4 },
  { of: "k" },
  { of: "frames", to: 0 },
  { of: "size" },
];
const TIME: readonly Sacrifice[] = [{ of: "k" }, { of: "size" }, { of: "frames", to: 0 }];

/**
 * In which order things give way when a budget is too small. At every stage as many frames are taken as fit; the first
 * stage at which something fits is the one that counts. Descriptions keep the size, what goes on all along a film
 * keeps the frames.
 */
export const ORDERS: Readonly<Record<Task | "question", readonly Sacrifice[]>> = {
  question: BALANCED,
  mcq: BALANCED,
  describe: DETAIL,
  summarize: TIME,
  steps: TIME,
};

/** What settings take. */
export interface Usage {
  visualTokens: number;
  promptTokens: number;
  seconds?: Seconds | undefined;
}

export const totalOf = (seconds: Seconds | undefined): number =>
  seconds === undefined ? 0 : seconds.decode + seconds.encode + seconds.prefill;

/** Even the least is more than the budget has. */
export function tooMuch(least: Usage, { budget, cachedTokens }: PlanRequest): OryxError {
  const { promptTokens, visualTokens, seconds } = least;
  if (promptTokens > budget.mostTokens) {
    if (budget.tokensBy === "context") {
      return contextExceeded(promptTokens, visualTokens, cachedTokens, budget.mostTokens + cachedTokens);
    }
    const problem = `the request takes at least ${count(promptTokens)} tokens, but may take ${count(budget.mostTokens)}`;
    const remedy = `allow ${promptTokens} (--budget-tokens, budgetTokens), or ${visualTokens > 0 ? "fix less and show less" : "shorten the question"}`;
    return new OryxError("budget_exceeded", problem, remedy);
  }
  const total = totalOf(seconds).toPrecision(2);
  const problem = `the request takes at least about ${total} seconds here, but may take ${budget.seconds}`;
  return new OryxError(
    "budget_exceeded",
    problem,
    "allow more (--budget-seconds, budgetSeconds), or fix less and show less",
  );
}

/** @param context tokens that prompt and answer may take together */
export function contextExceeded(prompt: number, visual: number, cached: number, context: number): OryxError {
  const parts = [`the request takes ${prompt} tokens`];
  if (visual > 0) parts.push(`${visual} of them for images and video`);
  if (cached > 0) parts.push(`${cached} are in the conversation already`);
  const problem = `${parts.join(", ")}, but the context holds ${context}`;
  const remedy =
    visual > 0
      ? "take fewer frames (--max-frames, maxFrames), compress more (--compress, compress: 2 or 4), or show less"
      : "shorten the question, or begin another conversation";
  return new OryxError("context_exceeded", problem, remedy);
}
