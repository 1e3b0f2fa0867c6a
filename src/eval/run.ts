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
