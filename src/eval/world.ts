import { conclusionOf } from "../world/language.ts";
import { KINDS, type Kind, type WorldOptions, type WorldSample, type WorldTurn } from "../world/sample.ts";
import { mediaItem } from "./pictures.ts";
import type { Question } from "./question.ts";
import { evaluationSeeds } from "./seeds.ts";

/** What questions are drawn from: pictures never seen, combinations never seen, or larger pictures. */
export const COLUMNS = ["seeds", "combinations", "larger"] as const;
export type Column = (typeof COLUMNS)[number];

/** How each column draws its samples. */
const DRAWN: Readonly<Record<Column, Omit<WorldOptions, "kinds">>> = {
  seeds: { split: "train" },
  combinations: { split: "heldout" },
  larger: { split: "train", scale: 2 },
};

export const GROUPS = ["image", "video", "steps", "describe"] as const;
/** Topics that are counted together. */
export type Group = (typeof GROUPS)[number];

/** Questions that are counted together: those of a kind, or some of them. */
export interface Topic {
  name: string;
  group: Group;
  kind: Kind;
  /** About one image, so that it can be asked of a larger one. */
  ofImage?: true;
  suits?: (turn: WorldTurn) => boolean;
}

const isList = ({ answer }: WorldTurn): boolean => conclusionOf(answer).includes("1. ");

/** New ones go behind: a topic's place among them decides its seeds. */
export const TOPICS: readonly Topic[] = [
  { name: "count", group: "image", kind: "count", ofImage: true },
  { name: "colour", group: "image", kind: "colour", ofImage: true },
  { name: "shape", group: "image", kind: "shape", ofImage: true },
  { name: "position", group: "image", kind: "position", ofImage: true },
  { name: "read", group: "image", kind: "read", ofImage: true },
  { name: "choice about an image", group: "video", kind: "choice", ofImage: true },
  { name: "choice about a video", group: "video", kind: "video_choice" },
  { name: "motion", group: "video", kind: "motion" },
  { name: "order", group: "video", kind: "order" },
  { name: "single steps", group: "video", kind: "steps", suits: (turn) => !isList(turn) },
  { name: "needle", group: "video", kind: "needle" },
  { name: "views", group: "video", kind: "views" },
  { name: "all steps", group: "steps", kind: "steps", suits: isList },
  { name: "image", group: "describe", kind: "describe", ofImage: true },
  { name: "video", group: "describe", kind: "summary" },
];

/** Kinds that some topic is about. The others (pages, letters without reasons) are there to be learnt from. */
export const ASKED_KINDS: readonly Kind[] = KINDS.filter((k) => TOPICS.some(({ kind }) => kind === k));

/** A column's questions about one topic. */
export interface Round {
  column: Column;
  topic: Topic;
  questions: () => AsyncGenerator<WorldQuestion, void, undefined>;
}

/** A question of the miniature world, with the sample that it is about. */
export interface WorldQuestion extends Question {
  sample: WorldSample;
}

/** The miniature world, as far as an evaluation needs it. */
export interface World {
  /** Questions and answers of a sample, without its pictures. */
  turns: (seed: number, options: WorldOptions) => readonly WorldTurn[];
  sample: (seed: number, options: WorldOptions) => Promise<WorldSample>;
  /** How much an answer is worth, from 0 to 1. */
  score: (turn: WorldTurn, got: string) => number;
}

export interface RoundOptions {
  /** Number of the evaluation: another one asks other questions. */
  seed: number;
  /** Questions about each topic in each column. */
  count: number;
  kinds?: readonly Kind[] | undefined;
}

/**
 * All questions of an evaluation, by column and topic. The larger pictures have the seeds of those as large as in
 * training, so that the two columns can be compared.
 */
export function rounds(world: World, { seed, count, kinds = ASKED_KINDS }: RoundOptions): Round[] {
  return COLUMNS.flatMap((column) =>
    TOPICS.filter(({ kind, ofImage }) => kinds.includes(kind) && (column !== "larger" || ofImage)).map(
      (topic) => ({ column, topic, questions: () => questionsOf(world, column, topic, { seed, count }) }),
    ),
  );
}

/** One question of each sample: questions about one picture would go right and wrong together. */
async function* questionsOf(
  world: World,
  column: Column,
  topic: Topic,
  { seed, count }: { seed: number; count: number },
): AsyncGenerator<WorldQuestion, void, undefined> {
  const options = { ...DRAWN[column], kinds: { [topic.kind]: 1 } };
  let found = 0;
  for (const sampleSeed of evaluationSeeds(seed, TOPICS.indexOf(topic))) {
    if (found === count) return;
    // What a sample is for is asked first: only that is sure to be about a combination that is held out.
    const [turn] = world.turns(sampleSeed, options);
    if (turn?.kind !== topic.kind || topic.suits?.(turn) === false) continue;
    const sample = await world.sample(sampleSeed, options);
    yield {
      id: `${column}/${topic.name.replaceAll(" ", "-")}/${found++}`,
      sample,
      media: [await mediaItem(sample.media)],
      visual: { maxFrames: sample.media.pictures.length },
      text: turn.question,
      expected: turn.answer,
      score: (got) => world.score(turn, got),
    };
  }
  if (found < count) throw new RangeError(`the world has ${found} questions on ${topic.name}, not ${count}`);
}
