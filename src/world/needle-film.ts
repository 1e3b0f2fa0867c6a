import { OryxError } from "../core/errors.ts";
import type { Size } from "../core/size.ts";
import type { RgbImage } from "../media/media.ts";
import { Dice } from "./dice.ts";
import { render } from "./draw.ts";
import { sightOf } from "./eye.ts";
import {
  type Card,
  cardMarks,
  countCards,
  drawCards,
  drawLongSize,
  drawScenes,
  drawTextCards,
} from "./haystack.ts";
import { ASK_NEEDLE, a, COLOURS } from "./language.ts";

/** Long films and the cards to hide in them, apart from each other: where a card goes is decided later. */

/** What is hidden: a card to read, two cards to read both, or one to three cards to count. */
export const NEEDLE_VARIANTS = ["single", "two", "count"] as const;
export type NeedleVariant = (typeof NEEDLE_VARIANTS)[number];

export interface NeedleCardOptions {
  variant: NeedleVariant;
  /** Cards that are hidden too, and not asked about. */
  distractors: number;
  /** Only combinations that training never sees. */
  heldOut: boolean;
  /** Size of the film that they are for; default: one of its own. */
  size?: Size | undefined;
}

/** Cards with what is asked about them. */
export interface NeedleCards {
  size: Size;
  /** Cards that are asked about. */
  asked: number;
  /** All of them are to be answered. */
  questions: { question: string; answer: string }[];
  /** Draws the cards: those that are asked about, then the distractors. */
  draw: () => Promise<RgbImage[]>;
}

/** Each card needs a colour of its own, so that a question can name it. */
export const MOST_DISTRACTORS = COLOURS.length - 2;

/**
 * Cards as long films of the world have them. The same seed and options give the same bytes.
 * @throws OryxError `bad_option`
 */
export function needleCards(seed: number, options: NeedleCardOptions): NeedleCards {
  const { variant, distractors, heldOut } = options;
  if (!Number.isInteger(distractors) || distractors < 0 || distractors > MOST_DISTRACTORS) {
    const problem = `${distractors} distractors`;
    throw new OryxError("bad_option", problem, `give a whole number from 0 to ${MOST_DISTRACTORS}`);
  }
  if (variant === "count" && distractors > 0) {
    throw new OryxError("bad_option", "cards to count with distractors", "every card counts: leave them out");
  }
  const dice = diceOf(seed, heldOut, 1);
  const sight = sightOf(options.size ?? filmSize(seed, heldOut), "video_long");
  const asked = variant === "single" ? 1 : variant === "two" ? 2 : dice.whole(1, 3);
  const alone = asked + distractors === 1 && variant === "single";
  const cards = dice.until(
    () =>
      alone ? drawCards(dice, sight, heldOut, 1) : drawTextCards(dice, sight, heldOut, asked + distractors),
    "cards",
  );
  const questions = questionsOf(dice, variant, cards.slice(0, asked), alone);
  const pictures = cards.map((card) => cardMarks(card, sight));
  const noise = dice.whole(0, 4);
  const noiseSeed = dice.seed();
  // One call for each: pictures of one call that look alike share their noise.
  const one = async (marks: string, i: number) =>
    (
      await render({ size: sight.size, pictures: [marks], noise, shown: [] }, 1, noiseSeed + i)
    )[0] as RgbImage;
  return { size: sight.size, asked, questions, draw: () => Promise.all(pictures.map(one)) };
}

/** Only what nobody can tell without the card: its colour could be guessed once in eight times. */
function questionsOf(
  dice: Dice,
  variant: NeedleVariant,
  cards: readonly Card[],
  alone: boolean,
): NeedleCards["questions"] {
  if (variant === "count") return [{ question: dice.pick(ASK_NEEDLE.many), answer: countCards(cards) }];
  return cards.map((card) => {
    if (card.colour === undefined) {
      return { question: dice.pick(ASK_NEEDLE.object), answer: a(card.object) };
    }
    const text = /\d/.test(card.text) ? ASK_NEEDLE.number : ASK_NEEDLE.word;
    const ask = alone ? text : ASK_NEEDLE.textOn(card.colour);
    return { question: dice.pick(ask), answer: card.text };
  });
}

/** A film of ordinary scenes without a card. */
export interface Scenes {
  size: Size;
  /** Frames from one to another, the second not included. Those that look alike share one object. */
  frames: (from: number, to: number) => Promise<RgbImage[]>;
}

/** Frames that are drawn together: what is noise on them depends on it. */
const STRIP = 128;

/** The same seed gives the same film, however long; pixels are drawn when they are asked for. */
export function drawNeedleScenes(seed: number, frames: number, heldOut: boolean): Scenes {
  const size = filmSize(seed, heldOut);
  const dice = diceOf(seed, heldOut, 2);
  const noise = dice.whole(0, 4);
  const noiseSeed = dice.seed();
  const pictures = drawScenes(dice, size, frames);
  const strip = (first: number) =>
    render({ size, pictures: pictures.slice(first, first + STRIP), noise, shown: [] }, 1, noiseSeed + first);
  return {
    size,
    async frames(from, to) {
      const all: RgbImage[] = [];
      const start = from - (from % STRIP);
      for (let first = start; first < to; first += STRIP) all.push(...(await strip(first)));
      return all.slice(from - start, to - start);
    },
  };
}

const filmSize = (seed: number, heldOut: boolean): Size => drawLongSize(diceOf(seed, heldOut, 0));

/** Below 2^33, where no training sample's dice are (see seeds.ts); three streams for each film. */
function diceOf(seed: number, heldOut: boolean, stream: number): Dice {
  if (!Number.isSafeInteger(seed) || seed < 0 || seed >= 2 ** 30) {
    throw new OryxError("bad_option", `the seed is ${seed}`, "give a whole number from 0 to 2^30 - 1");
  }
  return new Dice(8 * seed + 2 * stream + (heldOut ? 1 : 0));
}
