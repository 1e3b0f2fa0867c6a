import type { Size } from "../core/size.ts";
import type { Candidate } from "./conversation.ts";
import type { Dice } from "./dice.ts";
import { backgroundMark, boxMark, drawBackground, PAINTS, shapeMark, textMark, visibleOn } from "./draw.ts";
import { type Sight, sightOf } from "./eye.ts";
import {
  ASK_NEEDLE,
  a,
  article,
  COLOURS,
  type Colour,
  countWord,
  NUMBERS,
  SHAPES,
  type Shape,
  so,
  WORDS,
} from "./language.ts";
import type { WorldOptions } from "./sample.ts";
import type { Scenery, Shown } from "./scenery.ts";
import { capitalsOf } from "./slides.ts";
import { heldOutCard, heldOutObject } from "./split.ts";
import { drawHeldOut } from "./still.ts";

/** A long film of ordinary scenes in which single frames show a card. */

/** A card with a text on a colour, or with an object on white. */
export type Card =
  | { colour: Colour; text: string }
  | { colour: undefined; object: { colour: Colour; shape: Shape } };

export function drawHaystack(
  dice: Dice,
  heldOut: boolean,
  {
    needle: { frames: asked, cards: count, object = false } = {},
    easy,
  }: Pick<WorldOptions, "needle" | "easy"> = {},
): { scenery: Scenery; candidates: Candidate[] } {
  const sight = sightOf(drawLongSize(dice), "video_long");
  const frames = asked ?? Math.floor(easy ? dice.scaled(5, 12 * easy.things + 1) : dice.scaled(65, 257));
  const draw = () => {
    if (object) return drawObjectCard(dice, heldOut);
    return count === undefined ? drawCards(dice, sight, heldOut) : drawTextCards(dice, sight, heldOut, count);
  };
  const cards = dice.until(draw, "cards");
  const places = placesOf(dice, cards.length, frames);
  const pictures = drawScenes(dice, sight.size, frames);
  const shown: Shown[] = [];
  for (const [i, card] of cards.entries()) {
    const picture = places[i] as number;
    pictures[picture] = cardMarks(card, sight);
    const thing = "text" in card ? card : card.object;
    shown.push({
      picture,
      thing,
      x: sight.size.width / 2,
      y: sight.size.height / 2,
      size: cardContent(sight.size),
    });
  }
  return {
    scenery: { size: sight.size, pictures, noise: dice.whole(0, 4), shown },
    candidates: needleCandidates(cards),
  };
}

/** Square, or two to one: so long films are encoded with little distortion. */
export function drawLongSize(dice: Dice): Size {
  const side = dice.scaled(128, 180);
  const stretch = Math.sqrt(dice.pick([1, 1, 2, 16 / 9, 1 / 2]));
  return { width: Math.round(side * stretch), height: Math.round(side / stretch) };
}

const isHeldOut = (card: Card): boolean =>
  card.colour === undefined
    ? heldOutObject(card.object.colour, card.object.shape)
    : heldOutCard(card.text, card.colour);

/** A card with an object, or cards with texts. @param texts how many; default: at random */
export function drawCards(dice: Dice, sight: Sight, heldOut: boolean, texts?: number): Card[] | undefined {
  if (dice.chance(0.25)) return drawObjectCard(dice, heldOut);
  const count =
    texts ??
    dice.weighted([
      [1, 4],
      [2, 3],
      [3, 2],
    ]);
  return drawTextCards(dice, sight, heldOut, count);
}

function drawObjectCard(dice: Dice, heldOut: boolean): Card[] | undefined {
  const pair = { colour: dice.pick(COLOURS), shape: dice.pick(SHAPES) };
  const object = heldOut ? drawHeldOut(dice) : pair;
  return heldOutObject(object.colour, object.shape) === heldOut ? [{ colour: undefined, object }] : undefined;
}

/** Cards with texts, each of a colour of its own. */
export function drawTextCards(dice: Dice, sight: Sight, heldOut: boolean, count: number): Card[] | undefined {
  const colours = dice.some(COLOURS, count);
  const texts = dice.some([...dice.some(WORDS, count + 1), ...dice.some(NUMBERS, 1)], count);
  const cards = colours.map((colour, i): Card => ({ colour, text: texts[i] as string }));
  if (texts.some((text) => capitalsOf(text, sight) === undefined)) return undefined;
  return cards.some(isHeldOut) === heldOut ? cards : undefined;
}

/** Frames of the cards, in order, none beside another. */
function placesOf(dice: Dice, count: number, frames: number): number[] {
  return dice.until(() => {
    const places = Array.from({ length: count }, () => dice.whole(0, frames - 1)).sort((p, q) => p - q);
    return places.every((place, i) => i === 0 || place - (places[i - 1] as number) > 1) ? places : undefined;
  }, "places of cards");
}

/** Scenes of 8 to 40 frames, each with its background and at most two objects, which move every few frames. */
export function drawScenes(dice: Dice, size: Size, frames: number): string[] {
  const pictures: string[] = [];
  while (pictures.length < frames) {
    const background = drawBackground(dice);
    const ground = backgroundMark(background, size);
    const palette = COLOURS.filter((colour) => visibleOn(background, colour));
    const actors = Array.from({ length: dice.whole(0, 2) }, (_, i) => ({
      ...dice.until(() => {
        const pair = { colour: dice.pick(palette), shape: dice.pick(SHAPES) };
        return heldOutObject(pair.colour, pair.shape) ? undefined : pair;
      }, "an extra"),
      x: dice.between(0.2, 0.4) + 0.4 * i,
      y: dice.between(0.25, 0.75),
      dx: dice.between(-0.015, 0.015),
    }));
    const side = Math.min(size.width, size.height) * dice.between(0.25, 0.36);
    const length = dice.whole(8, 40);
    const hold = dice.whole(2, 5);
    for (let from = 0; from < length && pictures.length < frames; from += hold) {
      const marks = actors.map(({ shape, colour, x, y, dx }) => {
        const along = Math.min(0.85, Math.max(0.15, x + (dx * from) / hold));
        return shapeMark(shape, colour, along * size.width, y * size.height, side, background);
      });
      const picture = ground + marks.join("");
      for (let i = 0; i < hold && pictures.length < frames; i++) pictures.push(picture);
    }
  }
  return pictures;
}

const cardContent = ({ width, height }: Size): number => 0.72 * Math.min(width, height);

const DARK_INK: readonly Colour[] = ["yellow", "orange", "pink"];

export function cardMarks(card: Card, sight: Sight): string {
  const { width, height } = sight.size;
  const table = boxMark(width / 2, height / 2, width, height, { fill: "#fff" });
  const line = 0.03 * Math.min(width, height);
  const paper = (fill: string) =>
    table + boxMark(width / 2, height / 2, 0.94 * width, 0.92 * height, { fill, stroke: "#222", line });
  if (card.colour === undefined) {
    const side = cardContent(sight.size);
    return (
      paper("#fff") +
      shapeMark(card.object.shape, card.object.colour, width / 2, height / 2, side, { dark: false })
    );
  }
  const ink = DARK_INK.includes(card.colour) ? "#101010" : "#ffffff";
  const capitals = 0.95 * (capitalsOf(card.text, sight) as number);
  return paper(PAINTS[card.colour]) + textMark(card.text, ink, width / 2, height / 2, capitals);
}

// ------------------------------------------------------------------------------------------------ questions

function needleCandidates(cards: readonly Card[]): Candidate[] {
  const needle = (ask: readonly string[], answer: string, about: readonly Card[]): Candidate => ({
    kind: "needle",
    ask,
    answer,
    heldOut: about.some(isHeldOut),
  });
  const many = needle(ASK_NEEDLE.many, countCards(cards), []);
  const [card] = cards as [Card];
  if (card.colour === undefined) return [needle(ASK_NEEDLE.object, a(card.object), [card])];
  if (cards.length === 1) {
    const ask = /\d/.test(card.text) ? ASK_NEEDLE.number : ASK_NEEDLE.word;
    return [needle(ask, card.text, cards), needle(ASK_NEEDLE.cardColour, card.colour, cards), many];
  }
  const each = cards.flatMap((each) =>
    each.colour === undefined
      ? []
      : [
          needle(ASK_NEEDLE.textOn(each.colour), each.text, [each]),
          needle(ASK_NEEDLE.colourWith({ text: each.text }), each.colour, [each]),
        ],
  );
  const last = cards.at(-1) as Card;
  return [
    many,
    ...each,
    needle(ASK_NEEDLE.firstCard, card.colour, [card]),
    needle(ASK_NEEDLE.lastCard, last.colour as Colour, [last]),
  ];
}

/** "A red card, a blue card, so two." */
export const countCards = (cards: readonly Card[]): string =>
  so(
    cards.map(({ colour }) => `${article(colour ?? "white")} ${colour ?? "white"} card`),
    countWord(cards.length),
  );
