import { type Candidate, choicesOf } from "./conversation.ts";
import type { Dice } from "./dice.ts";
import { visibleOn } from "./draw.ts";
import {
  ASK_IMAGE,
  a,
  at,
  COLOURS,
  countWord,
  describeImage,
  isLetters,
  NUMBERS,
  placed,
  SHAPES,
  so,
  spelt,
  summariseImage,
  the,
  WORDS,
  ZONES,
} from "./language.ts";
import { heldOutObject, heldOutText } from "./split.ts";
import type { Still, StillObject } from "./still.ts";

/** Everything that can be asked of an image and has one answer. */
export function stillCandidates(dice: Dice, still: Still): Candidate[] {
  const { objects, texts } = still;
  const anything = objects.some(isHeldOut) || texts.some((t) => heldOutText(t.text, t.place));
  return [
    { kind: "describe", ask: ASK_IMAGE.describe, answer: describeImage(still), heldOut: anything },
    { kind: "describe", ask: ASK_IMAGE.summary, answer: summariseImage(still), heldOut: anything },
    ...counting(dice, still),
    ...naming(still),
    ...placing(still),
    ...reading(still),
    ...choosing(dice, still),
  ];
}

const isHeldOut = ({ colour, shape }: StillObject): boolean => heldOutObject(colour, shape);

/** Objects that can be told by one property alone. */
const onlyOne = <K extends "colour" | "shape">(objects: readonly StillObject[], key: K): StillObject[] =>
  objects.filter((object) => objects.filter((other) => other[key] === object[key]).length === 1);

/** Objects that can be told by colour and shape. */
const distinct = (objects: readonly StillObject[]): StillObject[] =>
  objects.filter((o) => objects.filter((p) => p.colour === o.colour && p.shape === o.shape).length === 1);

function counting(dice: Dice, { objects }: Still): Candidate[] {
  if (objects.length === 0) return [];
  const counted = (ask: readonly string[], among: readonly StillObject[]): Candidate => ({
    kind: "count",
    ask,
    answer: so(among.map(placed), countWord(among.length)),
    heldOut: ask !== ASK_IMAGE.count && among.some(isHeldOut),
  });
  const present = new Set(objects.map((o) => o.colour));
  const shapes = new Set(objects.map((o) => o.shape));
  const colours = [...present, dice.pick(COLOURS.filter((c) => !present.has(c)))];
  const kinds = [...shapes, dice.pick(SHAPES.filter((s) => !shapes.has(s)))];
  return [
    counted(ASK_IMAGE.count, objects),
    ...colours.map((c) =>
      counted(
        ASK_IMAGE.countColour(c),
        objects.filter((o) => o.colour === c),
      ),
    ),
    ...kinds.map((s) =>
      counted(
        ASK_IMAGE.countShape(s),
        objects.filter((o) => o.shape === s),
      ),
    ),
  ];
}

function naming({ objects }: Still): Candidate[] {
  const about = (kind: "colour" | "shape", object: StillObject, ask: readonly string[]): Candidate => ({
    kind,
    ask,
    answer: object[kind],
    heldOut: isHeldOut(object),
  });
  return [
    ...onlyOne(objects, "shape").map((o) => about("colour", o, ASK_IMAGE.colourOf(o.shape))),
    ...onlyOne(objects, "colour").map((o) => about("shape", o, ASK_IMAGE.shapeOf(o.colour))),
    ...objects.map((o) => about("colour", o, ASK_IMAGE.colourAt(o.zone))),
    ...objects.map((o) => about("shape", o, ASK_IMAGE.shapeAt(o.zone))),
  ];
}

/** Sides by which one object is beyond another when they are in different columns or rows. */
const APART = 0.25;

function placing({ size, objects, texts }: Still): Candidate[] {
  const told = distinct(objects);
  const relations = told.flatMap((one) =>
    told
      .filter((other) => other !== one)
      .flatMap((other): Candidate[] => {
        const heldOut = isHeldOut(one) || isHeldOut(other);
        const dx = (one.x - other.x) / size.width;
        const dy = (one.y - other.y) / size.height;
        const side = dx < 0 ? "left" : "right";
        const height = dy < 0 ? "above" : "below";
        const where = [one, other].map((o) => `${the(o)} is ${at(o.zone)}`);
        return [
          ...(Math.abs(dx) < APART
            ? []
            : [
                {
                  kind: "position",
                  ask: ASK_IMAGE.sideways(one, other),
                  answer: so(where, side),
                  heldOut,
                } as const,
              ]),
          ...(Math.abs(dy) < APART
            ? []
            : [
                {
                  kind: "position",
                  ask: ASK_IMAGE.upright(one, other),
                  answer: so(where, height),
                  heldOut,
                } as const,
              ]),
        ];
      }),
  );
  return [
    ...told.map(
      (o): Candidate => ({
        kind: "position",
        ask: ASK_IMAGE.zoneOf(o),
        answer: o.zone,
        heldOut: isHeldOut(o),
      }),
    ),
    ...objects.map(
      (o): Candidate => ({
        kind: "position",
        ask: ASK_IMAGE.thingAt(o.zone),
        answer: a(o),
        heldOut: isHeldOut(o),
      }),
    ),
    ...texts.map(
      ({ text, place }): Candidate => ({
        kind: "position",
        ask: ASK_IMAGE.zoneOf({ text }),
        answer: place,
        heldOut: heldOutText(text, place),
      }),
    ),
    ...relations,
  ];
}

function reading({ texts }: Still): Candidate[] {
  return texts.flatMap(({ text, place }): Candidate[] => {
    const heldOut = heldOutText(text, place);
    const asked = ASK_IMAGE.textAt(place);
    if (isLetters(text)) return [{ kind: "read", ask: asked, answer: spelt(text), heldOut }];
    const ask = /\d/.test(text) ? ASK_IMAGE.number : ASK_IMAGE.word;
    return [ask, asked].map((ask) => ({ kind: "read", ask, answer: text, heldOut }));
  });
}

function choosing(dice: Dice, { background, objects, texts }: Still): Candidate[] {
  const choice = (
    topic: string,
    questions: readonly string[],
    right: string,
    wrong: readonly string[],
    reason: string,
    heldOut: boolean,
  ) => choicesOf(dice, { kind: "choice", topic, questions, right, wrong, reason, heldOut });
  const colours = COLOURS.filter((colour) => visibleOn(background, colour));
  return [
    ...onlyOne(objects, "shape").flatMap((o) =>
      choice(
        "colour",
        ASK_IMAGE.colourOf(o.shape),
        o.colour,
        colours.filter((c) => !heldOutObject(c, o.shape)),
        `the ${o.shape} is ${o.colour}`,
        isHeldOut(o),
      ),
    ),
    ...onlyOne(objects, "colour").flatMap((o) =>
      choice(
        "shape",
        ASK_IMAGE.shapeOf(o.colour),
        o.shape,
        SHAPES.filter((s) => !heldOutObject(o.colour, s)),
        `the ${o.colour} object is a ${o.shape}`,
        isHeldOut(o),
      ),
    ),
    ...distinct(objects).flatMap((o) =>
      choice("zone", ASK_IMAGE.zoneOf(o), o.zone, ZONES.flat(), `${the(o)} is ${at(o.zone)}`, isHeldOut(o)),
    ),
    ...(objects.length > 0
      ? choice(
          "count",
          ASK_IMAGE.count,
          countWord(objects.length),
          [1, 2, 3, 4, 5].map(countWord),
          objects.length === 1 ? "there is one object" : `there are ${countWord(objects.length)} objects`,
          false,
        )
      : []),
    ...texts.flatMap(({ text, place }) => {
      if (isLetters(text)) return [];
      const number = /\d/.test(text);
      const pool = (number ? NUMBERS : WORDS).filter((other) => !heldOutText(other, place));
      return choice(
        "text",
        number ? ASK_IMAGE.number : ASK_IMAGE.word,
        text,
        pool,
        `the ${number ? "number" : "word"} is ${text}`,
        heldOutText(text, place),
      );
    }),
  ];
}
