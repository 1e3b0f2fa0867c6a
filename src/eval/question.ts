import type { MediaItem, VisualOptions } from "../engine/request.ts";

/** Something to ask of a model, and how much its answer is worth. */
export interface Question {
  /** Names it in reports; no two questions of an evaluation share one. */
  id: string;
  media: readonly MediaItem[];
  /** How the media are looked at, where that is not as usual. */
  visual?: VisualOptions;
  text: string;
  /** The right answer, or one of them. */
  expected: string;
  /** From 0, wrong, to 1, right. */
  score: (got: string) => number;
}

/** A question that was asked. */
export interface Outcome<Q extends Question = Question> {
  question: Q;
  got: string;
  score: number;
}

/** Answers a question in a conversation of its own. */
export type Answerer = (question: Question, signal?: AbortSignal) => Promise<string>;
