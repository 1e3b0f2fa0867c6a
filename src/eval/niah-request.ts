import { createHash } from "node:crypto";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { MOST_DISTRACTORS, type NeedleVariant } from "../world/needle-film.ts";
import type { NiahModel } from "./niah-model.ts";
import type { NiahPlan } from "./niah-plan.ts";
import type { NiahOptions, Subject } from "./niah-tasks.ts";
import { NIAH_MOST } from "./seeds.ts";

/** Where films and needles come from. */
export interface NiahSource {
  /** Video files; none: every needle has a film of its own from the miniature world. */
  films: readonly string[];
  /** Folder of needles; undefined: cards of the miniature world. */
  needles?: string | undefined;
  /** Needles for each cell; default: {@link DRAWN_NEEDLES} cards, or all of the folder. */
  count?: number | undefined;
  /** Another number draws other films and cards. */
  seed: number;
  variant: NeedleVariant;
  distractors: number;
  /** Cards show only what training never sees together. */
  heldOut: boolean;
}

/** Cards that are hidden, one at a time, where nobody says how many. */
export const DRAWN_NEEDLES = 10;

/** What is done before there is a plan: films and needles are opened and read, then speed is measured. */
export type NiahPreparation = "films" | "speed";

/** What a test does now. */
export interface NiahProgress {
  stage: "encode" | "ask";
  /** Frames or runs of the film. */
  done: number;
  total: number;
  /** Seconds of all that is left, by what it has taken so far. */
  leftS: number;
}

/** What a test is asked to do. */
export interface NiahRequest {
  /** The model, and perhaps another one to compare it with. */
  models: readonly [NiahModel, NiahModel?];
  source: NiahSource;
  options: NiahOptions;
  /** Where answers are kept as they come, and what is found is written. */
  out: string;
  /** Names the versions of all that computes; answers of others are not gone on from. */
  software: string;
  signal?: AbortSignal | undefined;
  onPreparation?: ((preparation: NiahPreparation) => void) | undefined;
  /** Told before the work. */
  onPlan?: ((plan: NiahPlan) => void) | undefined;
  onProgress?: ((progress: NiahProgress) => void) | undefined;
}

/** Sees to it that a request can be met, as far as it tells by itself. @throws OryxError `bad_option` */
export function checkRequest({ models, source, options }: NiahRequest): void {
  const { count = DRAWN_NEEDLES } = source;
  const { frames, depths, baselines, baselineFrames, maxTokens } = options;
  const whole = (value: number, most: number, least = 1) =>
    Number.isInteger(value) && value >= least && value <= most;
  const unique = new Set(frames).size === frames.length && new Set(depths).size === depths.length;
  const frameLimit = LIMITS.framesPerVideo;
  const mostDistractors = source.needles === undefined ? MOST_DISTRACTORS : NIAH_MOST.distractors;
  const faults: [boolean, string, string][] = [
    [frames.length === 0 || depths.length === 0, "the grid is empty", "give frames and depths"],
    [!unique, "a number of frames or a depth is there twice", "give each once"],
    [
      !frames.every((n) => whole(n, frameLimit)),
      `frames are ${frames}`,
      `give whole numbers up to ${frameLimit}`,
    ],
    [!depths.every((d) => d >= 0 && d <= 1), `depths are ${depths}`, "give numbers from 0 to 1"],
    [
      frames.length * depths.length > NIAH_MOST.cells,
      "the grid is too large",
      `give ${NIAH_MOST.cells} cells at most`,
    ],
    [!whole(count, NIAH_MOST.count), `${count} needles`, `give 1 to ${NIAH_MOST.count}`],
    [!whole(source.seed, NIAH_MOST.seed, 0), `the seed is ${source.seed}`, `give 0 to ${NIAH_MOST.seed}`],
    [
      !whole(source.distractors, mostDistractors, 0),
      `${source.distractors} distractors`,
      `give up to ${mostDistractors}`,
    ],
    [
      !whole(baselineFrames, frameLimit),
      `the baseline has ${baselineFrames} frames`,
      `give 1 to ${frameLimit}`,
    ],
    [!whole(maxTokens, LIMITS.maxPositions), `${maxTokens} tokens`, "give a whole number from 1"],
    [
      source.needles !== undefined && source.films.length > 0 && source.heldOut,
      "held-out combinations with films and needles of one's own",
      "leave --held-out away: nothing is drawn",
    ],
    [
      source.needles !== undefined && source.variant !== "single",
      `the variant ${source.variant} with needles of a folder`,
      "let the folder's questions say what is asked",
    ],
    [
      baselines.includes("other") !== (models[1] !== undefined),
      "the baseline `other` without its model",
      "give both or none",
    ],
  ];
  for (const [isFault, problem, remedy] of faults)
    if (isFault) throw new OryxError("bad_option", problem, remedy);
}

/** All that answers depend on, but for which cells and needles there are. */
export function settingsOf({ models, source, options, software }: NiahRequest, subjects: readonly Subject[]) {
  const { films, needles, seed, variant, distractors, heldOut } = source;
  const isDrawn = films.length === 0 && needles === undefined;
  const isGiven = films.length > 0 && needles !== undefined; // nothing is drawn that a seed would decide
  return {
    model: models[0].hash,
    baselineModel: models[1]?.hash ?? null,
    software,
    haystack: isDrawn ? "a film of its own for each needle" : (subjects[0]?.haystack.id ?? null),
    needles: needles === undefined ? "cards" : "folder",
    seed: isGiven ? null : seed,
    variant,
    distractors,
    heldOut,
    compress: options.compress ?? null,
    baselineFrames: options.baselineFrames,
    maxTokens: options.maxTokens,
  };
}

/** Tells settings from others. */
export const fingerprintOf = (settings: object): string =>
  createHash("sha256").update(JSON.stringify(settings)).digest("hex");
