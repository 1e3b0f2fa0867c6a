import type { Reply } from "./niah-ask.ts";
import type { NiahModel } from "./niah-model.ts";
import { ARMS, type Arm, type NiahOptions, type Task } from "./niah-tasks.ts";
import { rateOf } from "./tally.ts";

/** How often needles were found, counted in needles. */
export interface Found {
  needles: number;
  /** Answered word for word, whatever the case and the articles. */
  right: number;
  /** Every token of the answer was the likeliest one, with the right ones before it. */
  forced: number;
}

export interface CellFound extends Found {
  frames: number;
  depth: number;
}

/** What one arm of the test found. */
export interface ArmResult extends Found {
  arm: Arm;
  model: string;
  /** Shares of all needles, the interval in which the true one lies 19 times out of 20, and the worst cell's. */
  rate: number;
  low: number;
  high: number;
  forcedRate: number;
  least: number;
  cells: CellFound[];
}

/** One question as it was answered. */
export interface AskedQuestion {
  arm: Arm;
  frames?: number;
  depth?: number;
  needle: string;
  question: string;
  expected: string;
  got: string;
  right: boolean;
  forced: boolean;
}

/** All that a test found; the same whether or not it was stopped on the way. */
export interface NiahResult {
  niah: 1;
  model: { name: string; hash: string; randomWeights: boolean };
  baselineModel?: NiahResult["model"];
  films: string[];
  frames: readonly number[];
  depths: readonly number[];
  needles: number;
  settings: Readonly<Record<string, unknown>>;
  arms: ArmResult[];
  answers: AskedQuestion[];
}

export interface ResultRequest {
  models: readonly [NiahModel, NiahModel?];
  tasks: readonly Task[];
  replies: ReadonlyMap<string, readonly Reply[]>;
  options: NiahOptions;
  settings: Readonly<Record<string, unknown>>;
  /** Whether an answer is right. */
  isRight: (question: string, answer: string, got: string) => boolean;
}

/** Counts the replies. Every task must have its own. */
export function resultOf(request: ResultRequest): NiahResult {
  const { models, tasks, options, settings } = request;
  const answers = new Map(tasks.map((task) => [task, answersTo(task, request)]));
  const arms = ARMS.flatMap((arm): ArmResult[] => {
    const of = tasks.filter((task) => task.arm === arm);
    return of[0] ? [armResult(arm, of[0].model.name, of, answers, options)] : [];
  });
  const told = ({ name, hash, randomWeights }: NiahModel) => ({ name, hash, randomWeights });
  const subjects = [...new Set(tasks.map(({ subject }) => subject))];
  return {
    niah: 1,
    model: told(models[0]),
    ...(models[1] && { baselineModel: told(models[1]) }),
    films: subjects.map(({ haystack }) => haystack.name),
    frames: options.frames,
    depths: options.depths,
    needles: subjects.reduce((sum, { needles }) => sum + needles.length, 0),
    settings,
    arms,
    answers: tasks.flatMap((task) => answers.get(task) ?? []),
  };
}

function answersTo({ key, arm, cell, needle }: Task, { replies, isRight }: ResultRequest): AskedQuestion[] {
  const got = replies.get(key);
  if (got?.length !== needle.questions.length) throw new RangeError(`there is no reply to ${key}`);
  return got.map((reply, i) => {
    const { question, answer } = needle.questions[i] as { question: string; answer: string };
    const right = isRight(question, answer, reply.got);
    const forced = reply.hits === reply.tokens;
    return { arm, ...cell, needle: needle.id, question, expected: answer, got: reply.got, right, forced };
  });
}

function armResult(
  arm: Arm,
  model: string,
  tasks: readonly Task[],
  answers: ReadonlyMap<Task, readonly AskedQuestion[]>,
  { frames, depths }: NiahOptions,
): ArmResult {
  const found = (some: readonly Task[]): Found => {
    const all = some.map((task) => answers.get(task) ?? []);
    return {
      needles: some.length,
      right: all.filter((each) => each.every(({ right }) => right)).length,
      forced: all.filter((each) => each.every(({ forced }) => forced)).length,
    };
  };
  const hasCells = tasks[0]?.cell !== undefined;
  const cells = (hasCells ? frames : []).flatMap((count) =>
    depths.map((depth): CellFound => {
      const some = tasks.filter(({ cell }) => cell?.frames === count && cell.depth === depth);
      return { frames: count, depth, ...found(some) };
    }),
  );
  const whole = found(tasks);
  const { rate, low, high } = rateOf({ questions: whole.needles, points: whole.right }) ?? NOTHING;
  const least = Math.min(rate, ...cells.map(({ right, needles }) => right / needles));
  return { arm, model, ...whole, rate, low, high, forcedRate: whole.forced / whole.needles, least, cells };
}

const NOTHING = { rate: 0, low: 0, high: 0 };
