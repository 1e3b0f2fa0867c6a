import { isSameAnswer, normalised, words } from "../../text/words.ts";

/** Measures of an answer in words against those that are right: each from 0 to 1, for the best of them. */

/** 1 when it is one of the right answers, whatever the case, the articles and the punctuation. */
export function exactMatch(said: string, answers: readonly string[]): number {
  return answers.some((answer) => isSameAnswer(said, answer)) ? 1 : 0;
}

/** Harmonic mean of the shares of words, each as often as it occurs, that are in both (as SQuAD's F1). */
export function tokenF1(said: string, answers: readonly string[]): number {
  const own = normalised(said).split(" ").filter(Boolean);
  return best(answers, (answer) => {
    const right = normalised(answer).split(" ").filter(Boolean);
    const left = counts(right);
    let shared = 0;
    for (const word of own) {
      const count = left.get(word) ?? 0;
      if (count === 0) continue;
      left.set(word, count - 1);
      shared++;
    }
    return own.length + right.length === 0 ? 1 : (2 * shared) / (own.length + right.length);
  });
}

/** How much more recall weighs than precision in ROUGE-L, as the evaluation of COCO captions has it. */
const BETA = 1.2;

/** ROUGE-L: an F measure of the longest common subsequence of words, as the evaluation of COCO captions has it. */
export function rougeL(said: string, answers: readonly string[]): number {
  const own = words(said);
  if (own.length === 0 || answers.length === 0) return 0;
  let [precision, recall] = [0, 0];
  for (const answer of answers) {
    const right = words(answer);
    const common = commonLength(own, right);
    precision = Math.max(precision, common / own.length);
    recall = Math.max(recall, right.length === 0 ? 0 : common / right.length);
  }
  if (precision === 0 || recall === 0) return 0;
  return ((1 + BETA ** 2) * precision * recall) / (recall + BETA ** 2 * precision);
}

/** Longest run of words, not necessarily neighbours, that both have in this order. */
function commonLength(a: readonly string[], b: readonly string[]): number {
  let row = new Uint32Array(b.length + 1);
  for (const word of a) {
    const next = new Uint32Array(b.length + 1);
    for (let j = 0; j < b.length; j++) {
      next[j + 1] = word === b[j] ? row[j]! + 1 : Math.max(row[j + 1]!, next[j]!);
    }
    row = next;
  }
  return row[b.length] as number;
}

const best = (answers: readonly string[], measure: (answer: string) => number): number =>
  Math.max(0, ...answers.map(measure));

/** How often each occurs. */
export function counts<T>(items: Iterable<T>): Map<T, number> {
  const found = new Map<T, number>();
  for (const item of items) found.set(item, (found.get(item) ?? 0) + 1);
  return found;
}
