import type { Likelihoods } from "../../engine/likelihood.ts";
import type {
  Answer,
  AskRequest,
  BudgetOptions,
  MediaItem,
  Plan,
  Reused,
  Timings,
  VisualOptions,
} from "../../engine/request.ts";
import { taskQuestion, taskResult } from "../../engine/task.ts";
import { choicePrompt, letterOf } from "../../text/choice.ts";
import type { SetQuestion } from "./question.ts";

/** How an option is found out: by the likelihood of its letter, or from what the model says. */
export const CHOICES = ["likelihood", "text"] as const;
export type Choice = (typeof CHOICES)[number];

/** How a multiple choice is worded: as in published evaluations, or as `oryx ask --task mcq` and oryx-tiny's training. */
export const WORDINGS = ["published", "task"] as const;
export type Wording = (typeof WORDINGS)[number];

/** All that answers depend on, beside model and questions. */
export interface AskSettings {
  choice: Choice;
  wording: Wording;
  /** What stands below the options, where the wording is the published one. */
  instruction?: string | undefined;
  /** What stands below an open question. */
  openInstruction?: string | undefined;
  system?: string | undefined;
  maxTokens: number;
  visual: Omit<VisualOptions, "part"> & BudgetOptions;
}

/** What a model gave for a question, and what it took. */
export interface Given {
  /** What it said; of a choice by likelihood, the letter. */
  got: string;
  /** The option that it chose; null when its words name none. */
  chosen?: number | null;
  /** Of each option's letter: natural logarithm of its probability. */
  likelihoods?: readonly number[];
  /** Tokens of the answer. */
  tokens: number;
  took: Took;
}

/** The plan as it is logged: what was looked at, and how long each stage took. */
export interface Took {
  items: { name: string; frames: number; k: number; size: string; visualTokens: number }[];
  visualTokens: number;
  promptTokens: number;
  /** Whether a budget or the context made it less than was wanted. */
  isReduced: boolean;
  /** What a question before it about the same media had done already. */
  reused: Reused;
  timings: Timings;
}

/** As much of a loaded model as an evaluation needs. */
export interface AskedModel {
  ask: (request: AskRequest) => { answer: () => Promise<Answer> };
  likelihoods: (request: AskRequest, texts: readonly string[]) => Promise<Likelihoods>;
}

/** Answers a question about media, in a conversation of its own. */
export type SetAnswerer = (
  question: SetQuestion,
  media: readonly MediaItem[],
  options: { part?: VisualOptions["part"]; signal?: AbortSignal | undefined },
) => Promise<Given>;

/** Asks a loaded model, greedily, on the path that every request takes. */
export function setAnswerer(model: AskedModel, settings: AskSettings): SetAnswerer {
  const { visual, maxTokens, system, choice } = settings;
  return async (question, media, { part, signal }) => {
    const request = { ...visual, part, media, system, signal, question: wordingOf(question, settings) };
    if (question.kind === "choice" && choice === "likelihood") {
      const letters = question.options.map((_, i) => letterOf(i));
      const { likelihoods, plan, reused, timings } = await model.likelihoods(request, letters);
      const all = likelihoods.map(({ logProbability }) => logProbability);
      const chosen = all.indexOf(Math.max(...all));
      const took = tookOf(plan, reused, timings);
      return { got: letterOf(chosen), chosen, likelihoods: all, tokens: 0, took };
    }
    const { text, tokens, plan, reused, timings } = await model.ask({ ...request, maxTokens }).answer();
    const given = { got: text.trim(), tokens, took: tookOf(plan, reused, timings) };
    return question.kind === "choice" ? { ...given, chosen: choiceOf(text, question.options) } : given;
  };
}

/** A question as the model is asked it. */
export function wordingOf(question: SetQuestion, settings: AskSettings): string {
  const { wording, instruction, openInstruction } = settings;
  if (question.kind === "open") {
    return openInstruction === undefined ? question.text : `${question.text}\n${openInstruction}`;
  }
  const { text, options } = question;
  if (wording === "published") return choicePrompt(text, options, instruction);
  return taskQuestion({ task: "mcq", question: text, options }, []);
}

/** The option that a text names; null when none or several. */
export function choiceOf(text: string, options: readonly string[]): number | null {
  const result = taskResult("mcq", text, options);
  return "letter" in result ? result.letter.charCodeAt(0) - 65 : null;
}

function tookOf(
  { items, visualTokens, promptTokens, isReduced }: Plan,
  reused: Reused,
  timings: Timings,
): Took {
  const tenths = Object.entries(timings).map(([name, ms]) => [name, Math.round(10 * ms) / 10] as const);
  return {
    items: items.map(({ name, frameTimesS, k, size, visualTokens }) => {
      const { width, height } = size;
      return { name, frames: frameTimesS?.length ?? 1, k, size: `${width}x${height}`, visualTokens };
    }),
    visualTokens,
    promptTokens,
    isReduced,
    reused,
    timings: Object.fromEntries(tenths) as unknown as Timings,
  };
}
