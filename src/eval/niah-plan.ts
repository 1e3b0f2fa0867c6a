import { freemem } from "node:os";
import { DTYPE_BYTES } from "../core/dtype.ts";
import { OryxError } from "../core/errors.ts";
import { gigabytes } from "../core/figures.ts";
import { measureSpeed } from "../engine/calibrate.ts";
import { encodeSeconds, prefillSeconds, type Speed } from "../engine/speed.ts";
import { kvBytes } from "../model/cost.ts";
import type { VisualShape } from "../model/visual.ts";
import { poolBytes, tokensPerFrame } from "./niah-features.ts";
import type { NiahModel } from "./niah-model.ts";
import { framesOf, lengthOf, type NiahOptions, type Subject, type Task } from "./niah-tasks.ts";

/** Tasks of one film and model whose frames are seen alike, in the order in which they share most. */
export interface Group {
  model: NiahModel;
  subject: Subject;
  shape: VisualShape | undefined;
  /** Frames that are read first, once for all. */
  shared: number;
  tasks: Task[];
  /** Those that have no answer yet. */
  left: Task[];
  /** Numbers of the haystack's frames that are left to be seen. */
  frames: number[];
}

/** The largest value, or 0. Of more than 100,000 values `Math.max` cannot take them as arguments. */
export const mostOf = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((most, item) => Math.max(most, of(item)), 0);

/** Groups of tasks, those of one model and film next to each other. */
export function groupsOf(
  tasks: readonly Task[],
  isDone: (key: string) => boolean,
  options: NiahOptions,
): Group[] {
  const groups = new Map<string, Group>();
  const numbers = new Map<object, number>();
  const numberOf = (thing: object) => {
    if (!numbers.has(thing)) numbers.set(thing, numbers.size);
    return numbers.get(thing);
  };
  for (const task of tasks) {
    const { model, subject, shape } = task;
    const seen = shape && `${shape.modality} ${shape.k}`;
    const key = `${numberOf(model)} ${numberOf(subject)} ${seen} ${task.arm === "all" || task.arm === "other"}`;
    const found = groups.get(key);
    if (found) found.tasks.push(task);
    else groups.set(key, { model, subject, shape, shared: 0, tasks: [task], left: [], frames: [] });
  }
  for (const group of groups.values()) {
    // The same beginning is read whatever is left, so that a test which was stopped computes what it would have.
    group.shared = mostOf(group.tasks, (task) => task.shared);
    group.tasks.sort((one, two) => two.shared - one.shared);
    group.left = group.tasks.filter(({ key }) => !isDone(key));
    const frames = new Set<number>();
    if (group.left.length > 0) for (let hay = 0; hay < group.shared; hay++) frames.add(hay);
    for (const task of group.left) {
      for (const shown of framesOf(task, options)) if ("hay" in shown) frames.add(shown.hay);
    }
    group.frames = [...frames].sort((one, two) => one - two);
  }
  return [...groups.values()];
}

/** Tokens that a model reads in its prompts from now on, and what that takes. */
export interface NiahPlan {
  runs: number;
  done: number;
  /** Questions still to be asked. */
  questions: number;
  /** Tokens of prompts still to be computed, and what they would be if nothing were shared. */
  tokens: number;
  unsharedTokens: number;
  /** Frames to encode. */
  frames: number;
  /** Of the largest film with its keys and values. */
  bytes: number;
  /** Seconds, by this machine's speed now. */
  seconds: number;
}

/** Seconds of a model's work on this machine. */
export interface Pace {
  speed: Speed;
  /** One token of an answer behind the longest prompt. */
  next: number;
}

/** What it takes to do a group's tasks, in the order in which they are done. */
export function costOf(group: Group, { speed, next }: Pace): { share: number; tasks: Map<Task, number> } {
  const tasks = new Map<Task, number>();
  const each = group.shape ? tokensPerFrame(group.shape) : 0;
  for (const task of group.left) {
    const { head, film, questions, answers } = task.tokens;
    const before = head + task.shared * each;
    let seconds = prefillSeconds(speed, film, before);
    for (const [i, tokens] of questions.entries()) {
      seconds += prefillSeconds(speed, tokens, before + film) + 2 * (answers[i] as number) * next;
    }
    tasks.set(task, seconds);
  }
  const head = group.left[0]?.tokens.head ?? 0;
  return { share: prefillSeconds(speed, head + group.shared * each, 0), tasks };
}

/** Tokens of prompts that a group's tasks will compute. */
export function tokensOf(group: Group): number {
  if (group.left.length === 0) return 0;
  const each = group.shape ? tokensPerFrame(group.shape) : 0;
  const share = group.shape ? (group.left[0]?.tokens.head ?? 0) + group.shared * each : 0;
  return group.left.reduce(
    (sum, { tokens }) => sum + tokens.film + tokens.questions.reduce((a, b) => a + b),
    share,
  );
}

/** What is left to do. @throws OryxError `out_of_memory` */
export function planOf(
  groups: readonly Group[],
  paces: ReadonlyMap<NiahModel, Pace>,
  options: NiahOptions,
): NiahPlan {
  const all = groups.flatMap(({ tasks }) => tasks);
  const left = groups.flatMap((group) => group.left);
  let seconds = 0;
  for (const group of groups) {
    if (group.left.length === 0) continue;
    const pace = paces.get(group.model) as Pace;
    const { share, tasks } = costOf(group, pace);
    seconds += share + [...tasks.values()].reduce((a, b) => a + b, 0);
    if (group.shape) seconds += encodeSeconds(pace.speed, group.shape.views, group.frames.length);
  }
  const bytes = mostOf(left, (task) => bytesOf(task.model, lengthOf(task, options))) + mostPools(groups);
  if (bytes > MEMORY_SHARE * freemem()) {
    const problem = `frames and cache take ${gigabytes(bytes)}, more than this machine has free`;
    throw new OryxError("out_of_memory", problem, "give fewer --frames, or --kv f16");
  }
  return {
    runs: all.length,
    done: all.length - left.length,
    questions: left.reduce((sum, { needle }) => sum + needle.questions.length, 0),
    tokens: groups.reduce((sum, group) => sum + tokensOf(group), 0),
    unsharedTokens: left.reduce((sum, task) => sum + unshared(task), 0),
    frames: groups.reduce((sum, group) => sum + group.frames.length, 0),
    bytes,
    seconds,
  };
}

const MEMORY_SHARE = 0.7;

function unshared({ tokens, shape, shared }: Task): number {
  const film = tokens.head + (shape ? shared * tokensPerFrame(shape) : 0) + tokens.film;
  return tokens.questions.reduce((sum, question) => sum + film + question, 0);
}

const bytesOf = ({ decoder, kv }: NiahModel, tokens: number): number =>
  kvBytes(decoder.config, tokens, DTYPE_BYTES[kv]);

/** Bytes of encoded frames: while a group's are encoded, those of the group before may still be there. */
function mostPools(groups: readonly Group[]): number {
  const bytes = groups.map(({ shape, frames, model }) =>
    shape ? poolBytes(shape, frames.length, model.encoder.width) : 0,
  );
  return mostOf([...bytes.keys()], (i) => (bytes[i] as number) + (bytes[i - 1] ?? 0));
}

/** Tokens of context at most with which one step is timed. */
const LONG_CONTEXT = 8192;

/** Measures how fast a model is here. @param longest tokens that a prompt takes */
export async function measurePace(model: NiahModel, longest: number, signal?: AbortSignal): Promise<Pace> {
  const { decoder, encoder } = model;
  const context = Math.min(longest, LONG_CONTEXT);
  const speed = await measureSpeed({ decoder, encoder }, signal);
  return decoder.withSlot(context + 1, async (slot) => {
    await slot.append(slot.room(context)); // whatever is there takes as long as what was read
    const startMs = performance.now();
    await decoder.next(slot, 0, signal);
    return { speed, next: (performance.now() - startMs) / 1000 };
  });
}
