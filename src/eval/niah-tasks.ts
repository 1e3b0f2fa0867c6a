import { createHash } from "node:crypto";
import { OryxError } from "../core/errors.ts";
import type { Compression, VisualShape } from "../model/visual.ts";
import { tokensPerFrame } from "./niah-features.ts";
import type { Haystack } from "./niah-film.ts";
import { FRAMES_PER_PICTURE, layout, type Shown, sampled, sharedFrames } from "./niah-layout.ts";
import { type NiahModel, promptOf, shapeOf } from "./niah-model.ts";
import type { Needle } from "./niah-needles.ts";

/**
 * What a needle test asks, all of it known before the work.
 *
 * - `all`: every frame of the film, the test itself; `other`: the same of another model
 * - `uniform`: a few frames, evenly chosen, as a model sees a film that takes no more
 * - `needle`: the hidden pictures alone, which tells whether they can be read; `text`: nothing, which tells what is guessed
 */
export const ARMS = ["all", "other", "uniform", "needle", "text"] as const;
export type Arm = (typeof ARMS)[number];

/** Arms that are asked for every cell. */
export const GRID_ARMS: readonly Arm[] = ["all", "other", "uniform"];

/** A film and what is hidden in it, one needle at a time. */
export interface Subject {
  haystack: Haystack;
  needles: readonly Needle[];
}

export interface NiahOptions {
  /** Frames of the films, and depths of the needle from 0 to 1: the grid. */
  frames: readonly number[];
  depths: readonly number[];
  /** Besides `all`; `other` is asked of the second model. */
  baselines: readonly Arm[];
  /** Frames of `uniform`. */
  baselineFrames: number;
  /** Default: the paper's for the number of frames. */
  compress?: Compression | undefined;
  /** Tokens of an answer at most. */
  maxTokens: number;
}

/** One question, or a few of one needle, about one film. */
export interface Task {
  key: string;
  arm: Arm;
  model: NiahModel;
  subject: Subject;
  needle: Needle;
  /** The cell; undefined where the film does not matter. */
  cell?: { frames: number; depth: number };
  /** How frames are seen; undefined where there are none. */
  shape?: VisualShape;
  /** Leading frames that it shares with other tasks of its arm and film. */
  shared: number;
  /** Frames that are seen. */
  seen: number;
  /** Tokens in front of what is shared and behind it, of each question with its prompt. */
  tokens: { head: number; film: number; questions: number[]; answers: number[] };
}

/** All tasks: cell by cell of every arm, for every needle of every film. @throws OryxError `bad_option`, `context_exceeded` */
export function tasksOf(
  [model, other]: readonly [NiahModel, NiahModel?],
  subjects: readonly Subject[],
  options: NiahOptions,
): Task[] {
  const arms = ARMS.filter((arm) => arm === "all" || options.baselines.includes(arm));
  const cells = options.frames.flatMap((frames) => options.depths.map((depth) => ({ frames, depth })));
  return subjects.flatMap((subject) =>
    arms.flatMap((arm) => {
      const by = arm === "other" ? other : model;
      if (by === undefined) return [];
      return subject.needles.flatMap((needle) =>
        GRID_ARMS.includes(arm)
          ? cells.map((cell) => taskOf(arm, by, subject, needle, options, cell))
          : [taskOf(arm, by, subject, needle, options)],
      );
    }),
  );
}

function taskOf(
  arm: Arm,
  model: NiahModel,
  subject: Subject,
  needle: Needle,
  options: NiahOptions,
  cell?: Task["cell"],
): Task {
  const shown = framesOf({ arm, needle, ...(cell && { cell }) }, options);
  const { compress } = options;
  const shape =
    shown.length > 0 ? shapeOf(subject.haystack.size, shown.length, compress, model.views) : undefined;
  const prompts = needle.questions.map(({ question }) =>
    promptOf(model, question, shape && { shape, frames: shown.length }),
  );
  const shared = arm === "all" || arm === "other" ? sharedFrames(shown) : 0;
  const head = shape ? (prompts[0]?.head.length ?? 0) + 1 : 0;
  const tokens = {
    head,
    film: shape ? (shown.length - shared) * tokensPerFrame(shape) + 1 : 0,
    questions: prompts.map((prompt) => (shape ? prompt.tail : prompt.head).length),
    answers: needle.questions.map(({ answer }) => model.tokenizer.encode(answer).length),
  };
  if (tokens.answers.includes(0)) {
    throw new OryxError("questions_invalid", `${needle.id} has an answer without tokens`, "write a word");
  }
  const place = cell ? ` ${cell.frames} ${cell.depth}` : "";
  const task: Task = {
    key: `${arm}${place} ${needle.id}`,
    arm,
    model,
    subject,
    needle,
    ...(cell && { cell }),
    ...(shape && { shape }),
    shared,
    seen: shown.length,
    tokens,
  };
  checkLength(task, options);
  return task;
}

/** Tokens of the longest prompt of a task with its answer. */
export function lengthOf(task: Task, { maxTokens }: Pick<NiahOptions, "maxTokens">): number {
  const { head, film, questions, answers } = task.tokens;
  const shared = task.shape ? task.shared * tokensPerFrame(task.shape) : 0;
  return head + shared + film + Math.max(...questions) + Math.max(maxTokens, ...answers);
}

function checkLength(task: Task, options: NiahOptions): void {
  const length = lengthOf(task, options);
  const { contextTokens, name } = task.model;
  if (length <= contextTokens) return;
  const problem = `a film of ${task.seen} frames takes ${length} tokens, but ${name} holds ${contextTokens}`;
  throw new OryxError("context_exceeded", problem, "give fewer --frames, or a higher --compress");
}

/** What each frame of a task's film shows. */
export function framesOf(
  { arm, needle, cell }: Pick<Task, "arm" | "needle" | "cell">,
  { baselineFrames }: NiahOptions,
): Shown[] {
  if (cell === undefined) {
    if (arm === "text") return [];
    return Array.from({ length: needle.pictures }, (_, picture) => ({ picture }));
  }
  const { frames, depth } = cell;
  if (needle.pictures > 1 && frames < FRAMES_PER_PICTURE * needle.pictures) {
    const least = FRAMES_PER_PICTURE * needle.pictures;
    throw new OryxError(
      "bad_option",
      `films of ${frames} frames`,
      `give at least ${least} for so many pictures`,
    );
  }
  const film = layout({ frames, depth, pictures: needle.pictures, seed: seedOf(needle, frames) });
  return arm === "uniform" ? sampled(film, baselineFrames) : film;
}

/** Chance puts a needle's other pictures elsewhere for each length, but not for each depth. */
function seedOf({ seed }: Needle, frames: number): number {
  return createHash("sha256").update(`${seed} ${frames}`).digest().readUInt32LE();
}
