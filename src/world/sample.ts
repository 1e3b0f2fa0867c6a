import type { RgbImage } from "../media/media.ts";
import type { Named } from "./scenery.ts";

/** What is asked of the miniature world. */
export const KINDS = [
  "describe",
  "count",
  "colour",
  "shape",
  "position",
  "read",
  "choice",
  "motion",
  "order",
  "summary",
  "video_choice",
  "steps",
  "needle",
  "views",
  "letter",
  "page",
] as const;
export type Kind = (typeof KINDS)[number];

/** A question with its one right answer, as the model is trained to give it. */
export interface WorldTurn {
  kind: Kind;
  question: string;
  answer: string;
  /** Of the answer's reasons those that are seen, where others follow from them. */
  seen?: string;
}

/** Pictures with the times at which they are shown; an image has one. */
export interface WorldMedia {
  modality: "image" | "video" | "video_long";
  pictures: readonly RgbImage[];
  /** Seconds, of each picture. */
  timesS: readonly number[];
}

/** Something to look at, and a conversation about it. */
export interface WorldSample {
  id: string;
  media: WorldMedia;
  turns: readonly WorldTurn[];
  /** What is to be named where, on pages. */
  named?: readonly Named[];
}

/** Combinations (a colour on a shape, a word in a place, …) that training sees, or those kept away from it. */
export type Split = "train" | "heldout";

/**
 * Bounds for a model that begins from nothing. Films of an easy world have a frame for each slide or step and no
 * other; its long films have 5 to 12 frames times `things`, and its tables one or two views.
 */
export interface Easy {
  /** Objects and texts of an image, slides of a film, steps of a recording or objects on a table, at most; from 1. */
  things: number;
  /** Pixels of a side of an image, slide, motion film or recording at most, from 64. */
  side: number;
  /**
   * How likely a slide, or an image that needs none, shows letters, a word or a number, from 0 to 1. Default about
   * 0.5: they take longest to learn.
   */
  texts?: number | undefined;
  /** How likely such a text is letters rather than a word or a number, from 0 to 1. Default 0.6, on images 0. */
  letters?: number | undefined;
}

/** Frames that a long film may be asked to have: it must hold its cards, and stay in memory. */
export const LONG_FRAMES = { least: 16, most: 4096 } as const;
/** Cards that one may be asked to hide: each has a colour of its own, by which it is asked for. */
export const MOST_CARDS = 6;

/** What is not given is drawn at random. */
export interface LongFilm {
  frames?: number | undefined;
  /** Cards with a text. */
  cards?: number | undefined;
  /** Whether the card shows an object: other objects pass in the film, and no other text. */
  object?: boolean | undefined;
}

export interface WorldOptions {
  split: Split;
  /** Kinds to draw from, with their weights. */
  kinds: Readonly<Partial<Record<Kind, number>>>;
  /** Factor on the sides of everything: 2 asks for pictures twice as large as training has them. Default 1. */
  scale?: number | undefined;
  /** Bounds on images, slides and recordings. Default: none but the world's own. */
  easy?: Easy | undefined;
  /** Of long films: how long they are, and what they hide. */
  needle?: LongFilm | undefined;
}
