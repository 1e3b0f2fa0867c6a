import { choicePrompt, lettered, letterOf } from "../text/choice.ts";
import type { Dice } from "./dice.ts";
import { conclusionOf, so } from "./language.ts";
import type { Kind, WorldTurn } from "./sample.ts";

/** A turn that could be asked. */
export interface Candidate {
  kind: Kind;
  /** Phrasings of the question, alike in meaning. */
  ask: readonly string[];
  answer: string;
  /** Of its reasons those that are seen, where others follow from them. */
  seen?: string;
  /** Whether it is about a combination that training never sees. */
  heldOut: boolean;
  /** What it is about, where those of its kind are drawn by that and not by what they come to. */
  topic?: string;
  /** Whether the picture is there for this question above all: it is asked first, mostly. */
  main?: boolean;
}

export interface ConversationPlan {
  /** The kind that the sample is for: it is asked first. */
  primary: Kind;
  /** Kinds to draw from, with their weights. */
  kinds: Readonly<Partial<Record<Kind, number>>>;
  /** Turns at most. */
  turns: number;
  /** Whether the first turn must be about a held-out combination. */
  heldOut: boolean;
}

const MAIN_FIRST = 0.85;

/** Chooses turns, no two with the same question. */
export function converse(
  dice: Dice,
  candidates: readonly Candidate[],
  { primary, kinds, turns, heldOut }: ConversationPlan,
): WorldTurn[] {
  const first = candidates.filter((c) => c.kind === primary && (c.heldOut || !heldOut));
  if (first.length === 0) throw new Error(`nothing of the kind ${primary} can be asked`);
  const main = first.filter((c) => c.main);
  const chosen = [balanced(dice, main.length > 0 && dice.chance(MAIN_FIRST) ? main : first)];
  let left = candidates.filter((c) => (kinds[c.kind] ?? 0) > 0);
  while (chosen.length < turns) {
    left = left.filter((c) => c !== chosen.at(-1));
    if (left.length === 0) break;
    const present = [...new Set(left.map((c) => c.kind))];
    const kind = dice.weighted(present.map((k) => [k, kinds[k] ?? 0] as const));
    chosen.push(
      balanced(
        dice,
        left.filter((c) => c.kind === kind),
      ),
    );
  }
  return chosen.map(({ kind, ask, answer, seen }) => ({
    kind,
    question: dice.pick(ask),
    answer,
    ...(seen !== undefined && { seen }),
  }));
}

/**
 * One of them, each topic or conclusion as likely as the others: or "one" would answer most questions that begin
 * "How many", and few choices would be about words.
 */
function balanced(dice: Dice, candidates: readonly Candidate[]): Candidate {
  const group = ({ topic, answer }: Candidate) => topic ?? conclusionOf(answer);
  const chosen = dice.pick([...new Set(candidates.map(group))]);
  return dice.pick(candidates.filter((c) => group(c) === chosen));
}

/** Of the questions with lettered options: what they are about, and the kind that asks for reasons. */
export interface ChoiceOf {
  kind: Kind;
  questions: readonly string[];
  right: string;
  /** Three of them are options too. */
  wrong: readonly string[];
  /** Why it is the right one. */
  reason: string;
  heldOut: boolean;
  topic?: string;
}

/** A choice of one of four, with its reason, and one of which the letter alone is asked. */
export function choicesOf(
  dice: Dice,
  { kind, questions, right, wrong, reason, ...about }: ChoiceOf,
): Candidate[] {
  const others = dice.some(
    wrong.filter((option) => option !== right),
    3,
  );
  const options = dice.shuffled([right, ...others]);
  const letter = letterOf(options.indexOf(right));
  return [
    { kind, ask: questions.map((q) => lettered(q, options)), answer: so([reason], letter), ...about },
    { kind: "letter", ask: questions.map((q) => choicePrompt(q, options)), answer: letter, ...about },
  ];
}
