import { join } from "node:path";
import { throwIfAborted } from "../core/errors.ts";
import type { Size } from "../core/size.ts";
import { encodeSeconds } from "../engine/speed.ts";
import { makeFolder, onDisk } from "../files/disk.ts";
import { withLock } from "../files/lock.ts";
import { score } from "../world/score.ts";
import { Asker } from "./niah-ask.ts";
import { encodeFrames, encodePool, type FramePool } from "./niah-features.ts";
import { asFrame, filmHaystack, worldHaystack } from "./niah-film.ts";
import { NiahJournal } from "./niah-journal.ts";
import type { NiahModel } from "./niah-model.ts";
import { folderNeedles, type Needle, worldNeedle } from "./niah-needles.ts";
import {
  costOf,
  type Group,
  groupsOf,
  measurePace,
  mostOf,
  type NiahPlan,
  type Pace,
  planOf,
} from "./niah-plan.ts";
import {
  checkRequest,
  DRAWN_NEEDLES,
  fingerprintOf,
  type NiahRequest,
  type NiahSource,
  settingsOf,
} from "./niah-request.ts";
import { type NiahResult, resultOf } from "./niah-result.ts";
import { framesOf, lengthOf, type NiahOptions, type Subject, type Task, tasksOf } from "./niah-tasks.ts";
import { NIAH_MOST } from "./seeds.ts";

/** A needle in a haystack: how often a model finds a picture in a long film, by the film's length and the picture's place. */

/** What was found, and what it took. */
export interface NiahOutcome {
  plan: NiahPlan;
  /** Tokens of prompts that were computed. */
  tokens: number;
  result: NiahResult;
}

/**
 * Asks about every needle in every cell, and goes on where an earlier run was stopped.
 * @param use does what is to be done with the films before they are closed
 * @throws OryxError `bad_option`, `context_exceeded`, `out_of_memory`, `answers_invalid`, `questions_invalid`,
 *   `media_*`, `locked`, `disk`, `aborted`
 */
export async function runNiah(
  request: NiahRequest,
  use: (outcome: NiahOutcome, subjects: readonly Subject[]) => Promise<void>,
): Promise<NiahOutcome> {
  const { out } = request;
  checkRequest(request);
  await onDisk(`make ${out}`, () => makeFolder(out));
  const held = "another test is writing here";
  return withLock(join(out, "niah.lock"), { held, signal: request.signal }, () =>
    withTasks(request, async (work) => {
      const outcome = await askAll(request, work);
      await use(outcome, work.subjects);
      return outcome;
    }),
  );
}

/** What there is left to do; writes nothing. @throws as {@link runNiah} */
export async function planNiah(request: NiahRequest): Promise<NiahPlan> {
  checkRequest(request);
  return withTasks(request, async ({ plan }) => plan);
}

/** A test that is ready to be run. */
interface Work {
  subjects: readonly Subject[];
  tasks: readonly Task[];
  settings: Readonly<Record<string, unknown>>;
  journal: NiahJournal;
  groups: readonly Group[];
  paces: ReadonlyMap<NiahModel, Pace>;
  plan: NiahPlan;
}

/** Opens films and journal, and plans. What was opened is closed again. */
async function withTasks<T>(request: NiahRequest, use: (work: Work) => Promise<T>): Promise<T> {
  const { models, options, signal, out, onPreparation } = request;
  onPreparation?.("films");
  const subjects = await openSubjects(request);
  try {
    const tasks = tasksOf(models, subjects, options);
    const settings = settingsOf(request, subjects);
    const journal = await NiahJournal.open(join(out, "answers.jsonl"), fingerprintOf(settings));
    try {
      const groups = groupsOf(tasks, (key) => journal.replies.has(key), options);
      onPreparation?.("speed");
      const paces = await measureAll(groups, options, signal);
      const plan = planOf(groups, paces, options);
      return await use({ subjects, tasks, settings, journal, groups, paces, plan });
    } finally {
      await journal.close();
    }
  } finally {
    for (const { haystack } of subjects) await haystack.close();
  }
}

async function askAll(request: NiahRequest, work: Work): Promise<NiahOutcome> {
  const { models, options } = request;
  const { plan, groups, journal, paces, tasks, settings } = work;
  request.onPlan?.(plan);
  const clock = new Clock(plan.seconds);
  let tokens = 0;
  for (const films of neighbours(groups.filter(({ left }) => left.length > 0))) {
    tokens += await askGroups(films, request, { journal, clock, paces });
  }
  const { replies } = journal;
  return { plan, tokens, result: resultOf({ models, tasks, replies, options, settings, isRight }) };
}

const isRight = (question: string, answer: string, got: string): boolean =>
  score({ kind: "needle", question, answer }, got).correct;

/** Groups of one film and model share a cache of keys and values, in which one follows the other. */
function neighbours(groups: readonly Group[]): Group[][] {
  const runs: Group[][] = [];
  for (const group of groups) {
    const last = runs.at(-1);
    if (last?.[0]?.model === group.model && last[0].subject === group.subject) last.push(group);
    else runs.push([group]);
  }
  return runs;
}

interface Hands {
  journal: NiahJournal;
  clock: Clock;
  paces: ReadonlyMap<NiahModel, Pace>;
}

/** Does the tasks of one film and model. @returns tokens of prompts that were computed */
async function askGroups(groups: readonly Group[], request: NiahRequest, hands: Hands): Promise<number> {
  const { options, signal, onProgress } = request;
  const { model } = groups[0] as Group;
  const pace = hands.paces.get(model) as Pace;
  const longest = mostOf(
    groups.flatMap(({ left }) => left),
    (task) => lengthOf(task, options),
  );
  const asker = new Asker(model, longest, options.maxTokens);
  const total = groups.reduce((sum, { left }) => sum + left.length, 0);
  let done = 0;
  try {
    for (const group of groups) {
      const costs = costOf(group, pace);
      const pool = await poolOf(group, pace, request, hands.clock);
      if (pool) await asker.share(pool, group.shared, signal);
      hands.clock.spent(costs.share);
      const pictures = new Map<object, Float32Array[]>();
      for (const task of group.left) {
        throwIfAborted(signal);
        const rows = pool && (pictures.get(task.needle) ?? (await pictureRows(task, pool, signal)));
        if (rows) pictures.set(task.needle, rows);
        const film = pool && { shown: framesOf(task, options), pool, pictures: rows ?? [] };
        const { shared, needle } = task;
        const replies = await asker.ask(
          { ...(film && { film }), shared, questions: needle.questions },
          signal,
        );
        await hands.journal.note(task.key, replies);
        hands.clock.spent(costs.tasks.get(task) ?? 0);
        onProgress?.({ stage: "ask", done: ++done, total, leftS: hands.clock.leftS });
      }
    }
    return asker.fed;
  } finally {
    await asker.close();
  }
}

/** Encodes what a group sees of its film. */
async function poolOf(
  { model, subject, shape, frames }: Group,
  { speed }: Pace,
  { signal, onProgress }: NiahRequest,
  clock: Clock,
): Promise<FramePool | undefined> {
  if (shape === undefined) return undefined;
  const { haystack } = subject;
  let before = 0;
  const told = (done: number) => {
    clock.spent(encodeSeconds(speed, shape.views, done - before));
    before = done;
    onProgress?.({ stage: "encode", done, total: frames.length, leftS: clock.leftS });
  };
  const source = (numbers: readonly number[], size: Size) => haystack.frames(numbers, size, signal);
  return encodePool(model.encoder, shape, source, frames, { signal, onProgress: told });
}

/** Rows of a needle's pictures, as frames of its film. */
async function pictureRows(
  { model, needle, subject }: Task,
  pool: FramePool,
  signal: AbortSignal | undefined,
): Promise<Float32Array[]> {
  const { size } = subject.haystack;
  const { main } = pool.shape.views;
  const rows: Float32Array[] = [];
  for (const picture of await needle.load(size, signal)) {
    const frame = await asFrame(picture, size, main, signal);
    rows.push(await encodeFrames(model.encoder, pool.shape, [frame], 1, { signal }));
  }
  return rows;
}

/** Time left, by how the work so far took compared with what was expected. */
class Clock {
  readonly #startMs = performance.now();
  readonly #expected: number;
  #spent = 0;

  constructor(expected: number) {
    this.#expected = expected;
  }

  /** Counts work that was expected to take so many seconds as done. */
  spent(seconds: number): void {
    this.#spent += seconds;
  }

  get leftS(): number {
    const left = Math.max(0, this.#expected - this.#spent);
    const elapsed = (performance.now() - this.#startMs) / 1000;
    return this.#spent > 0 ? (left * elapsed) / this.#spent : left;
  }
}

async function measureAll(
  groups: readonly Group[],
  options: NiahOptions,
  signal: AbortSignal | undefined,
): Promise<Map<NiahModel, Pace>> {
  const paces = new Map<NiahModel, Pace>();
  const left = groups.flatMap((group) => group.left);
  for (const model of new Set(left.map((task) => task.model))) {
    const own = left.filter((task) => task.model === model);
    const longest = mostOf(own, (task) => lengthOf(task, options));
    paces.set(model, await measurePace(model, longest, signal));
  }
  return paces;
}

// --------------------------------------------------------------------------------------- films and needles

/** Seeds of one test's needles are next to each other, those of two tests apart. */
const firstSeed = (seed: number): number => seed * NIAH_MOST.count;

async function openSubjects({ source, options, signal }: NiahRequest): Promise<Subject[]> {
  const { films, needles, seed, heldOut } = source;
  const longest = Math.max(...options.frames);
  if (films.length === 0 && needles === undefined) {
    return cardSeeds(source).map((own) => ({
      haystack: worldHaystack(own, longest, heldOut),
      needles: [worldNeedle(own, source)],
    }));
  }
  const found = needles === undefined ? undefined : await folderNeedles(needles, source);
  const haystack =
    films.length > 0
      ? await filmHaystack(films, longest, signal)
      : worldHaystack(firstSeed(seed), longest, heldOut);
  try {
    return [{ haystack, needles: found ?? cardsFor(source, haystack.size) }];
  } catch (error) {
    await haystack.close();
    throw error;
  }
}

const cardsFor = (source: NiahSource, size: Size): Needle[] =>
  cardSeeds(source).map((seed) => worldNeedle(seed, source, size));

const cardSeeds = ({ seed, count = DRAWN_NEEDLES }: NiahSource): number[] =>
  Array.from({ length: count }, (_, i) => firstSeed(seed) + i);
