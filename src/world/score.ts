import { isSameAnswer, normalised } from "../text/words.ts";
import { conclusionOf } from "./language.ts";
import type { WorldTurn } from "./sample.ts";

export interface Score {
  correct: boolean;
  /** How many of the facts are told, and only they: for descriptions and summaries. */
  f1?: number;
}

/**
 * Judges an answer: the letter of a choice, the facts of a description or summary, the whole list of steps; all else
 * by what it comes to, word for word, whatever the case, the articles and the punctuation.
 */
export function score(turn: WorldTurn, answer: string): Score {
  switch (turn.kind) {
    case "choice":
    case "video_choice":
    case "letter":
      return { correct: chosenIn(answer) === chosenIn(turn.answer) };
    case "describe":
    case "summary": {
      const f1 = overlap(factsOf(turn.answer), factsOf(answer));
      return { correct: f1 === 1, f1 };
    }
    default:
      return { correct: isSameConclusion(turn.answer, answer) };
  }
}

function isSameConclusion(right: string, said: string): boolean {
  const [one, other] = [right, said].map(conclusionOf) as [string, string];
  const steps = stepsOf(one);
  return steps.length > 0 ? isSameAnswer(stepsOf(other).join(), steps.join()) : isSameAnswer(other, one);
}

/** "The star is blue, so B.", "B", "(b)" -> "B"; "a red star" is none. */
const chosenIn = (answer: string): string | undefined =>
  /^\s*\(?([A-D])\s*([.):]|$)/i.exec(conclusionOf(answer))?.[1]?.toUpperCase();

/**
 * What a description or summary claims, each claim once for every time it is made: its clauses. "There are two
 * objects", "red star at top left", "purple circle disappears", "second blue house", "2 click Camera".
 */
export const factsOf = (text: string): string[] =>
  (stepsOf(text).length > 0 ? stepsOf(text).join(";") : text)
    .replace(/(\d)\./g, "$1")
    .split(/[.:,;]|\band\b/i)
    .map(normalised)
    .filter((fact) => fact.length > 0);

/** The harmonic mean of the share of the facts that were told and the share of what was told that is a fact. */
function overlap(facts: readonly string[], told: readonly string[]): number {
  const left = [...facts];
  for (const claim of told) {
    const place = left.indexOf(claim);
    if (place >= 0) left.splice(place, 1);
  }
  const right = facts.length - left.length;
  return facts.length + told.length === 0 ? 1 : (2 * right) / (facts.length + told.length);
}

/** "1. open Mail 2. click Camera" -> its steps, with their numbers. */
const stepsOf = (text: string): string[] => text.match(/\d+\.\s*[a-z]+\s+[a-z]+/gi) ?? [];
