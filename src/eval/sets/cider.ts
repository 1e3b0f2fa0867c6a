import { words } from "../../text/words.ts";
import { counts } from "./words.ts";

/** Runs of 1 to 4 words count. */
const LONGEST_RUN = 4;
/** Width of the penalty for another length than the right answer's, in runs of two words. */
const SIGMA = 6;

/** An answer in words, with the answers that are right. */
export interface Captioned {
  said: string;
  answers: readonly string[];
}

/** Runs of words of one length, with their weights. */
interface Weighted {
  /** For each length of run: run -> its count, times how rare it is among the questions. */
  runs: Map<string, number>[];
  /** Euclidean length of each of them. */
  norms: number[];
  /** Runs of two words, counted with repetition. */
  length: number;
}

/**
 * CIDEr of each answer, 0 to 10: how alike it is to the right answers in runs of one to four words, where runs count
 * the more, the fewer questions have them in a right answer. This is CIDEr-D (Vedantam, Zitnick and Parikh,
 * arXiv 1411.5726, section 7) as the evaluation of COCO captions computes it, which is what papers report: counts
 * are clipped, other lengths penalised, word forms not stemmed. Of a single question it is always 0, because a run
 * that all questions have says nothing. A corpus has the mean.
 */
export function cider(questions: readonly Captioned[]): number[] {
  const right = questions.map(({ answers }) => answers.map((answer) => runCounts(words(answer))));
  const documents = new Map<string, number>();
  for (const answers of right) {
    const runs = new Set(answers.flatMap((byLength) => byLength.flatMap((found) => [...found.keys()])));
    for (const run of runs) documents.set(run, (documents.get(run) ?? 0) + 1);
  }
  const all = Math.log(questions.length);
  const rarity = (run: string) => all - Math.log(Math.max(1, documents.get(run) ?? 0));
  return questions.map(({ said }, i) => {
    const own = weighted(runCounts(words(said)), rarity);
    const answers = right[i] as Map<string, number>[][];
    const alike = answers.map((answer) => likeness(own, weighted(answer, rarity)));
    return answers.length === 0 ? 0 : (10 * sum(alike)) / answers.length;
  });
}

/** For each length, its runs in a text and how often they occur. */
const runCounts = (text: readonly string[]): Map<string, number>[] =>
  Array.from({ length: LONGEST_RUN }, (_, i) => {
    const starts = Math.max(0, text.length - i);
    return counts(Array.from({ length: starts }, (_, at) => text.slice(at, at + i + 1).join(" ")));
  });

function weighted(found: readonly Map<string, number>[], rarity: (run: string) => number): Weighted {
  const runs = found.map((byRun) => {
    return new Map([...byRun].map(([run, count]) => [run, count * rarity(run)] as const));
  });
  const norms = runs.map((byRun) => Math.sqrt(sum([...byRun.values()].map((weight) => weight ** 2))));
  return { runs, norms, length: sum([...(found[1]?.values() ?? [])]) };
}

/** Mean over the lengths of the clipped cosine, less for another number of words. */
function likeness(own: Weighted, right: Weighted): number {
  const penalty = Math.exp(-((own.length - right.length) ** 2) / (2 * SIGMA ** 2));
  const cosines = own.runs.map((runs, i) => {
    const norms = (own.norms[i] as number) * (right.norms[i] as number);
    if (norms === 0) return 0;
    const other = right.runs[i] as Map<string, number>;
    const products = [...runs].map(([run, weight]) => {
      const its = other.get(run) ?? 0;
      return Math.min(weight, its) * its;
    });
    return sum(products) / norms;
  });
  return (penalty * sum(cosines)) / LONGEST_RUN;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
