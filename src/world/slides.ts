import type { Size } from "../core/size.ts";
import { type Candidate, choicesOf } from "./conversation.ts";
import type { Dice } from "./dice.ts";
import { type Background, backgroundMark, drawBackground, shapeMark, textMark, visibleOn } from "./draw.ts";
import { drawSight, LEAST_CAPITALS, LEAST_OBJECT, type Sight } from "./eye.ts";
import { filmSizes } from "./film.ts";
import {
  ASK_FILM,
  a,
  COLOURS,
  capital,
  countWord,
  inOrder,
  isLetters,
  NUMBERS,
  ordinal,
  SHAPES,
  so,
  summariseOrder,
  type Thing,
  the,
  thingAfter,
  WORDS,
} from "./language.ts";
import { capitalsFor } from "./lettering.ts";
import type { Easy } from "./sample.ts";
import type { Scenery, Shown, Spot } from "./scenery.ts";
import { heldOutObject } from "./split.ts";
import { drawLetters } from "./still.ts";

/** A film that shows one thing after another, each for a few frames. */

/** A film with what can be asked of it; in an easy one each thing is shown for one frame. */
export function drawSlides(
  dice: Dice,
  heldOut: boolean,
  easy?: Easy,
): { scenery: Scenery; candidates: Candidate[] } {
  const sight = drawSight(dice, filmSizes(easy), "video");
  const background = drawBackground(dice);
  const count = easy ? dice.whole(1, easy.things) : dice.whole(2, 4);
  const draw = () => drawThings(dice, sight, background, { count, easy }, heldOut);
  const things = dice.until(draw, "things to show");
  return {
    scenery: slideScenery(dice, sight, background, things, easy !== undefined),
    candidates: orderCandidates(dice, things),
  };
}

/** Letters of a slide at most: so many fit the smallest frame. */
const MOST_LETTERS = 7;

const isHeldOut = (thing: Thing): boolean => "shape" in thing && heldOutObject(thing.colour, thing.shape);

function drawThings(
  dice: Dice,
  sight: Sight,
  background: Background,
  { count, easy }: { count: number; easy: Easy | undefined },
  heldOut: boolean,
): Thing[] | undefined {
  const things = Array.from({ length: count }, () => drawThing(dice, background, easy));
  if (things.some(isHeldOut) !== heldOut) return undefined;
  if (new Set(things.map(a)).size < count) return undefined;
  return things.every((thing) => canBeRead(thing, sight)) ? things : undefined;
}

function canBeRead(thing: Thing, sight: Sight): boolean {
  if ("shape" in thing) return true;
  return isLetters(thing.text)
    ? rowings(thing.text, sight).length > 0
    : capitalsOf(thing.text, sight) !== undefined;
}

/** An object, a word or a number. */
function drawThing(dice: Dice, background: Background, easy?: Easy): Thing {
  const texts = easy ? (easy.texts ?? 0.5) : 0.3;
  if (dice.chance(1 - texts)) {
    const colours = COLOURS.filter((colour) => visibleOn(background, colour));
    return { colour: dice.pick(colours), shape: dice.pick(SHAPES) };
  }
  if (easy && dice.chance(easy.letters ?? 0.6)) return { text: drawLetters(dice, MOST_LETTERS) };
  return { text: dice.chance(0.7) ? dice.pick(WORDS) : dice.pick(NUMBERS) };
}

/** Height of the capitals of a text that fills a frame; undefined where they are too small to read. */
export function capitalsOf(text: string, { size, shrink }: Sight): number | undefined {
  const wide = capitalsFor(text, 0.9 * size.width);
  const capitals = Math.min(wide, 0.5 * size.height);
  return capitals * shrink < LEAST_CAPITALS ? undefined : capitals;
}

function slideScenery(
  dice: Dice,
  sight: Sight,
  background: Background,
  things: readonly Thing[],
  brief: boolean,
): Scenery {
  const { size } = sight;
  const ground = backgroundMark(background, size);
  const pictures: string[] = [];
  const shown: Shown[] = [];
  for (const thing of things) {
    const { mark, ...spot } = drawSlide(dice, thing, sight, background);
    const from = pictures.length;
    const frames = brief ? 1 : dice.whole(things.length < 4 ? 2 : 1, 4);
    for (let i = 0; i < frames; i++) {
      pictures.push(ground + mark);
      shown.push({ picture: from + i, thing, ...spot });
    }
  }
  return { size, pictures, noise: background.noise, shown };
}

/** One thing, large. */
function drawSlide(dice: Dice, thing: Thing, sight: Sight, background: Background): { mark: string } & Spot {
  const { width, height }: Size = sight.size;
  if ("shape" in thing) {
    const least = LEAST_OBJECT / sight.shrink;
    const size = Math.max(least, Math.min(width, height) * dice.between(0.45, 0.75));
    const near = (length: number) => length / 2 + (length - size) * dice.between(-0.3, 0.3);
    const [x, y] = [near(width), near(height)];
    return { mark: shapeMark(thing.shape, thing.colour, x, y, size, background), x, y, size };
  }
  if (isLetters(thing.text)) return drawRows(dice, thing.text, sight, background);
  const most = capitalsOf(thing.text, sight) as number;
  const capitals = Math.max(LEAST_CAPITALS / sight.shrink, most * dice.between(0.8, 1));
  const [x, y] = [width / 2, height / 2 + dice.between(-0.12, 0.12) * height];
  const fill = background.dark ? "#f5f5f5" : "#141414";
  return { mark: textMark(thing.text, fill, x, y, capitals), x, y, size: capitals };
}

/** A row's height by its capitals. */
const ROW = 1.3;
/** Capitals of letters at most, by the frame's shorter side. */
const MOST_LETTER = 0.6;

/** Letters of any size and anywhere, in rows, so that they are learnt wherever a word may have them. */
function drawRows(
  dice: Dice,
  letters: string,
  sight: Sight,
  background: Background,
): { mark: string } & Spot {
  const { width, height } = sight.size;
  const { rows, most } = dice.pick(rowings(letters, sight));
  const capitals = dice.scaled(LEAST_CAPITALS / sight.shrink, most);
  const widest = Math.max(...rows.map((row) => capitals / capitalsFor(row, 1)));
  const anywhere = (length: number, taken: number) => dice.between(-1, 1) * ((0.97 * length - taken) / 2);
  const x = width / 2 + anywhere(width, widest);
  const y = height / 2 + anywhere(height, ROW * rows.length * capitals);
  const fill = background.dark ? "#f5f5f5" : "#141414";
  const marks = rows.map((row, i) => {
    const down = (i - (rows.length - 1) / 2) * ROW * capitals;
    return textMark(row, fill, x, y + down, capitals);
  });
  return { mark: marks.join(""), x, y, size: capitals };
}

/** In which rows letters can be read on a frame, and the capitals that fit it at most. */
function rowings(letters: string, { size: { width, height }, shrink }: Sight) {
  return Array.from({ length: Math.min(3, letters.length) }, (_, i) => {
    const length = Math.ceil(letters.length / (i + 1));
    const rows = letters.match(new RegExp(`.{1,${length}}`, "g")) ?? [];
    const wide = Math.min(...rows.map((row) => capitalsFor(row, 0.94 * width)));
    const high = (0.94 * height) / (ROW * rows.length);
    return { rows, most: Math.min(wide, high, MOST_LETTER * Math.min(width, height)) };
  }).filter(({ most }) => most * shrink >= LEAST_CAPITALS);
}

// ------------------------------------------------------------------------------------------------ questions

function orderCandidates(dice: Dice, things: readonly Thing[]): Candidate[] {
  const order = (ask: readonly string[], answer: string, about: readonly Thing[]): Candidate => ({
    kind: "order",
    ask,
    answer,
    heldOut: about.some(isHeldOut),
  });
  const last = things.length - 1;
  /** All are told, in their order. */
  const told = (conclusion: string) => so(inOrder(things), conclusion);
  const seen = capital(inOrder(things).join(", "));
  const strangers = COLOURS.flatMap((colour) => SHAPES.map((shape) => ({ colour, shape })))
    .filter((thing) => !isHeldOut(thing))
    .map(a);
  return [
    {
      kind: "summary",
      ask: ASK_FILM.summary,
      answer: summariseOrder(things),
      heldOut: things.some(isHeldOut),
    },
    order(ASK_FILM.last, told(a(things[last] as Thing)), things.slice(last)),
    order(ASK_FILM.many, told(countWord(things.length)), []),
    ...things.map((thing, i) => order(ASK_FILM.place(i), a(thing), [thing])),
    ...things.slice(1).flatMap((thing, i) => {
      const before = things[i] as Thing;
      const both = [before, thing];
      // The list stops at what is asked about: that takes a look at one thing at a time, never at a pair of them.
      const upTo = inOrder(things.slice(0, i + 2));
      return [
        { ...order(ASK_FILM.after(before), so([thingAfter(things, i)], a(thing)), both), seen },
        { ...order(ASK_FILM.before(thing), so(upTo, a(before)), both), seen },
      ];
    }),
    ...things.flatMap((thing, i) => {
      const others = things.filter((other) => other !== thing).map(a);
      const unseen = strangers.filter((other) => other !== a(thing) && !others.includes(other));
      const wrong = [...others, ...dice.some(unseen, 3)].slice(0, 3);
      return choicesOf(dice, {
        kind: "video_choice",
        questions: ASK_FILM.place(i),
        right: a(thing),
        wrong,
        reason: `${the(thing)} comes ${ordinal(i)}`,
        heldOut: isHeldOut(thing),
      });
    }),
  ];
}
