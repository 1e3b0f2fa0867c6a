import { throwIfAborted } from "../core/errors.ts";
import type { Oryx } from "../node/oryx.ts";
import type { Answerer, Outcome, Question } from "./question.ts";

/** The longest right answer of the miniature world takes 46 tokens; a model that does not stop is stopped here. */
const MAX_TOKENS = 128;

/** Asks a loaded model, greedily, on the path that every request takes. */
export function oryxAnswerer(oryx: Oryx, maxTokens = MAX_TOKENS): Answerer {
  return async ({ media, text, visual }, signal) => {
    const { text: got } = await oryx.ask({ ...visual, question: text, media, maxTokens, signal }).answer();
    return got;
  };
}

/** What another form of a model makes of an answer. */
export interface Agreement {
  /** Tokens of the answer, and how many of them it finds the likeliest, given those before them. */
  tokens: number;
  same: number;
}

/** Compares a model with answers of another form of it, by teacher forcing: one difference does not make others. */
export function oryxAgreement(oryx: Oryx): (question: Question, answer: string) => Promise<Agreement> {
  return async ({ media, text, visual }, answer) => {
    if (answer === "") return { tokens: 0, same: 0 };
    const request = { ...visual, question: text, media };
    const [scored] = (await oryx.likelihoods(request, [answer])).likelihoods;
    return { tokens: scored?.tokens ?? 0, same: scored?.likeliest ?? 0 };
  };
}

/** Asks one question after the other: those that come are made while they are asked for, and not kept. */
export async function* askAll<Q extends Question>(
  questions: AsyncIterable<Q> | Iterable<Q>,
  answer: Answerer,
  signal?: AbortSignal,
): AsyncGenerator<Outcome<Q>, void, undefined> {
  for await (const question of questions) {
    throwIfAborted(signal);
    const got = await answer(question, signal);
    yield { question, got, score: question.score(got) };
  }
}
