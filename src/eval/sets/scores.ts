import { Random } from "../../core/random.ts";
import { type Rate, rateOf } from "../tally.ts";
import type { Given } from "./ask.ts";
import { cider } from "./cider.ts";
import type { SetQuestion } from "./question.ts";
import { exactMatch, rougeL, tokenF1 } from "./words.ts";

/** A question that was answered. */
export interface AnsweredQuestion {
  question: SetQuestion;
  /** What it is about: answers about the same media are not independent. */
  media: string;
  given: Given;
}

/** The mean of a measure with the interval in which the true one lies, 19 times out of 20, where that can be told. */
export interface Mean {
  questions: number;
  mean: number;
  low?: number;
  high?: number;
}

/** Questions that are counted together. */
export interface ScoreRow {
  /** The way of sorting and the value; undefined: all questions. */
  category?: { way: string; value: string };
  /** Of multiple choices: the share that is right, that which chance would have, and answers that named no option. */
  choice?: { accuracy: Rate; chance: number; unclear: number };
  /** Of open questions. */
  open?: { exact: Rate; f1: Mean; rougeL: Mean; cider: Mean };
}

/** Measures of one answer; undefined where nobody knows what is right. */
export type Measures = { right: number } | { exact: number; f1: number; rougeL: number } | undefined;

export function measuresOf(question: SetQuestion, { got, chosen }: Given): Measures {
  if (question.kind === "choice") {
    return question.right === undefined ? undefined : { right: chosen === question.right ? 1 : 0 };
  }
  const { answers } = question;
  if (answers.length === 0) return undefined;
  return { exact: exactMatch(got, answers), f1: tokenF1(got, answers), rougeL: rougeL(got, answers) };
}

interface Measured extends AnsweredQuestion {
  measures: NonNullable<Measures>;
  /** Of an open question: its part in the CIDEr of all. */
  cider: number;
}

/** A row for all questions, and one for each value of each way in which they are sorted, in order of appearance. */
export function scoreRows(answered: readonly AnsweredQuestion[]): ScoreRow[] {
  const all = measured(answered);
  if (all.length === 0) return [];
  const ways = new Map<string, Map<string, Measured[]>>();
  for (const one of all) {
    for (const [way, values] of Object.entries(one.question.categories)) {
      for (const value of new Set(values)) {
        const sorted = ways.get(way) ?? new Map<string, Measured[]>();
        ways.set(way, sorted);
        const some = sorted.get(value);
        if (some === undefined) sorted.set(value, [one]);
        else some.push(one);
      }
    }
  }
  const rows = [...ways].flatMap(([way, values]) => {
    return [...values].map(([value, some]) => ({ category: { way, value }, ...scoresOf(some) }));
  });
  return [scoresOf(all), ...rows];
}

function measured(answered: readonly AnsweredQuestion[]): Measured[] {
  const known = answered.flatMap((one) => {
    const measures = measuresOf(one.question, one.given);
    return measures === undefined ? [] : [{ ...one, measures, cider: 0 }];
  });
  const captions = known.flatMap((one) => {
    return one.question.kind === "open" ? [{ one, said: one.given.got, answers: one.question.answers }] : [];
  });
  cider(captions).forEach((value, i) => {
    (captions[i] as { one: Measured }).one.cider = value;
  });
  return known;
}

function scoresOf(some: readonly Measured[]): Pick<ScoreRow, "choice" | "open"> {
  const choices = some.flatMap((one) =>
    "right" in one.measures ? [{ one, right: one.measures.right }] : [],
  );
  const opened = some.flatMap((one) => ("exact" in one.measures ? [{ ...one, ...one.measures }] : []));
  const scores: Pick<ScoreRow, "choice" | "open"> = {};
  if (choices.length > 0) {
    const chances = choices.map(({ one: { question } }) => {
      return question.kind === "choice" ? 1 / question.options.length : 0;
    });
    scores.choice = {
      accuracy: share(choices.map(({ right }) => right)),
      chance: sum(chances) / chances.length,
      unclear: choices.filter(({ one }) => one.given.chosen === null).length,
    };
  }
  if (opened.length > 0) {
    scores.open = {
      exact: share(opened.map(({ exact }) => exact)),
      f1: meanOf(opened.map(({ media, f1 }) => ({ media, value: f1 }))),
      rougeL: meanOf(opened.map(({ media, rougeL }) => ({ media, value: rougeL }))),
      cider: meanOf(opened.map(({ media, cider }) => ({ media, value: cider }))),
    };
  }
  return scores;
}

/** Of questions that are right or wrong, with Wilson's interval. */
const share = (rights: readonly number[]): Rate =>
  rateOf({ questions: rights.length, points: sum(rights) }) as Rate;

/** Resamples of a bootstrap: at most, at least, and numbers that may be drawn for one mean. */
const RESAMPLES = { most: 1000, least: 200, draws: 2_000_000 };

/**
 * A mean with its 95% interval by the bootstrap: media are drawn, each with all its questions, because answers about
 * the same media are right and wrong together. None with fewer than two media. The same numbers, the same interval.
 */
export function meanOf(values: readonly { media: string; value: number }[]): Mean {
  const groups = new Map<string, { sum: number; count: number }>();
  for (const { media, value } of values) {
    const group = groups.get(media) ?? { sum: 0, count: 0 };
    groups.set(media, { sum: group.sum + value, count: group.count + 1 });
  }
  const questions = values.length;
  const mean = sum(values.map(({ value }) => value)) / questions;
  const all = [...groups.values()];
  if (all.length < 2) return { questions, mean };
  const { most, least, draws } = RESAMPLES;
  const count = Math.max(least, Math.min(most, Math.floor(draws / all.length)));
  const random = new Random(questions);
  const means = Float64Array.from({ length: count }, () => {
    let [total, drawn] = [0, 0];
    for (let i = 0; i < all.length; i++) {
      const group = all[Math.floor(random.next() * all.length)] as { sum: number; count: number };
      total += group.sum;
      drawn += group.count;
    }
    return total / drawn;
  }).sort();
  const at = (quantile: number) => means[Math.round(quantile * (count - 1))] as number;
  return { questions, mean, low: at(0.025), high: at(0.975) };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
