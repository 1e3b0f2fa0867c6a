import { describe, expect, it } from "vitest";
import { COLOURS, COUNTS, SHAPES, type Thing } from "./language.ts";
import type { Kind } from "./sample.ts";
import type { Scenery, Shown } from "./scenery.ts";
import { composeSample } from "./world.ts";

/** Answers questions from what stands in the pictures alone: no code is shared with what wrote the answers. */
type Oracle = (scenery: Scenery, ...words: string[]) => string | undefined;

const isText = (thing: Thing): thing is { text: string } => "text" in thing;
const nameOf = (thing: Thing): string =>
  isText(thing)
    ? `the ${/\d/.test(thing.text) ? "number" : "word"} ${thing.text}`
    : `${thing.colour === "orange" ? "an" : "a"} ${thing.colour} ${thing.shape}`;
const objects = ({ shown }: Scenery) => shown.filter(({ thing }) => !isText(thing));
const texts = ({ shown }: Scenery) => shown.filter(({ thing }) => isText(thing));
const zoneOf = ({ size }: Scenery, { x, y }: Shown): string => {
  const row = ["top", "", "bottom"][Math.floor((3 * y) / size.height)];
  const column = ["left", "", "right"][Math.floor((3 * x) / size.width)];
  return [row, column].filter((word) => word).join(" ") || "middle";
};
const placeOf = ({ size }: Scenery, { y }: Shown): string =>
  ["top", "middle", "bottom"][Math.floor((3 * y) / size.height)] as string;

/** The one thing that fits; a question to which several fit is no question. */
function only<T>(found: readonly T[]): T {
  expect(found).toHaveLength(1);
  return found[0] as T;
}
const called = (scenery: Scenery, words: string): Shown =>
  only(scenery.shown.filter(({ thing }) => nameOf(thing).replace(/^(an?|the) /, "") === words));
const has =
  (key: "colour" | "shape", value: string) =>
  ({ thing }: Shown) =>
    !isText(thing) && thing[key] === value;
const trait = ({ thing }: Shown, key: "colour" | "shape"): string => (isText(thing) ? "" : thing[key]);

const one = (alternatives: readonly string[]) => `(${alternatives.join("|")})`;
const COLOUR = one(COLOURS);
const SHAPE = one(SHAPES);
const PLURAL = `(${SHAPES.map((shape) => (shape === "fish" ? shape : `${shape}(?:es|s)`)).join("|")})`;
const ZONE = "(?:at the|on the|in the) ([a-z ]+)";

const IMAGE: readonly (readonly [string, Oracle])[] = [
  ["(?:How many objects are there|Count the objects).", (s) => COUNTS[objects(s).length]],
  [
    `(?:How many|Count the) ${COLOUR} objects.*`,
    (s, c = "") => COUNTS[objects(s).filter(has("colour", c)).length],
  ],
  [
    `(?:How many|Count the) ${PLURAL}(?: are there)?.`,
    (s, p = "") => {
      const shape = SHAPES.find((name) => p.startsWith(name)) as string;
      return COUNTS[objects(s).filter(has("shape", shape)).length];
    },
  ],
  [
    `(?:What|Which) colour (?:is|does) the ${SHAPE}(?: have)?.`,
    (s, p = "") => trait(only(objects(s).filter(has("shape", p))), "colour"),
  ],
  [
    `What colour is the object ${ZONE}.`,
    (s, z = "") => trait(only(objects(s).filter((o) => zoneOf(s, o) === z)), "colour"),
  ],
  [
    `What shape is the object ${ZONE}.`,
    (s, z = "") => trait(only(objects(s).filter((o) => zoneOf(s, o) === z)), "shape"),
  ],
  [
    `(?:What shape is the ${COLOUR} object|Which object is ${COLOUR})\\?`,
    (s, p, q) => trait(only(objects(s).filter(has("colour", p ?? q ?? ""))), "shape"),
  ],
  [
    `(?:What|Which object) is ${ZONE}\\?`,
    (s, z = "") => nameOf(only(objects(s).filter((o) => zoneOf(s, o) === z)).thing),
  ],
  [
    "(?:Where is|Where do you see) the (.*)\\?",
    (s, name = "") => {
      const found = called(s, name);
      return isText(found.thing) ? placeOf(s, found) : zoneOf(s, found);
    },
  ],
  [
    "Is the (.*) left or right of the (.*)\\?",
    (s, p = "", q = "") => (called(s, p).x < called(s, q).x ? "left" : "right"),
  ],
  [
    "Is the (.*) above or below the (.*)\\?",
    (s, p = "", q = "") => (called(s, p).y < called(s, q).y ? "above" : "below"),
  ],
  [
    "(?:What|Which|Read the) (word|number).*",
    (s, kind) => {
      const fits = (text: string) => /\d/.test(text) === (kind === "number");
      return only(texts(s).flatMap(({ thing }) => (isText(thing) && fits(thing.text) ? [thing.text] : [])));
    },
  ],
  [
    `(?:What is written|Read the text) ${ZONE}.`,
    (s, z) =>
      only(
        texts(s)
          .filter((t) => placeOf(s, t) === z)
          .map((t) => (t.thing as { text: string }).text),
      ),
  ],
];

const sequence = ({ shown }: Scenery): string[] => {
  const names = shown.map(({ thing }) => nameOf(thing));
  return names.filter((name, i) => name !== names[i - 1]);
};
const ORDINALS = ["first", "second", "third", "fourth"];

const SLIDES: readonly (readonly [string, Oracle])[] = [
  ["(?:What comes|Which thing is shown) last\\?", (s) => sequence(s).at(-1)],
  [
    `(?:What comes|Which thing is shown) ${one(ORDINALS)}\\?`,
    (s, o = "") => sequence(s)[ORDINALS.indexOf(o)],
  ],
  [
    "(?:What comes right after|What follows) (.*)\\?",
    (s, name = "") => sequence(s)[sequence(s).findIndex((n) => n.endsWith(name.replace("the ", ""))) + 1],
  ],
  [
    "What comes right before (.*)\\?",
    (s, name = "") => sequence(s)[sequence(s).findIndex((n) => n.endsWith(name.replace("the ", ""))) - 1],
  ],
  ["How many things are shown\\?", (s) => COUNTS[sequence(s).length]],
];

/** What an object does, from where it is on the first and last frames. */
function motionOf({ shown, pictures }: Scenery, name: string): string {
  const poses = shown.filter(({ thing }) => nameOf(thing).endsWith(name));
  const [first, last] = [poses[0] as Shown, poses.at(-1) as Shown];
  if (last.picture < pictures.length - 1) return "it disappears";
  if (last.size > 1.2 * first.size) return "it grows";
  if (first.size > 1.2 * last.size) return "it shrinks";
  const [dx, dy] = [last.x - first.x, last.y - first.y];
  if (Math.abs(dx) > 20) return dx < 0 ? "it moves left" : "it moves right";
  if (Math.abs(dy) > 20) return dy < 0 ? "it moves up" : "it moves down";
  return "it stays still";
}

const names = (scenery: Scenery): string[] => [...new Set(scenery.shown.map(({ thing }) => nameOf(thing)))];

const MOTIONS: readonly (readonly [string, Oracle])[] = [
  ["(?:What does the|What happens to the) (\\w+ \\w+)(?: do)?\\?", (s, name = "") => motionOf(s, name)],
  [
    "(?:What|Which object) ((?:moves|grows|shrinks|stays|disappears).*)\\?",
    (s, motion) =>
      only(names(s).filter((name) => motionOf(s, name) === `it ${motion}`)).replace(/^an?/, "the"),
  ],
  [
    "What colour is the object that (.*)\\?",
    (s, motion) => only(names(s).filter((name) => motionOf(s, name) === `it ${motion}`)).split(" ")[1],
  ],
];

/** What scenery tells of a card besides its text, and of an object on a table. */
const detail = ({ thing }: Shown, key: "colour" | "mark"): string =>
  String((thing as Thing & { colour?: string; mark?: number })[key]);
const marked = (scenery: Scenery, mark: string): Shown =>
  scenery.shown.find((o) => detail(o, "mark") === mark) as Shown;
const byPicture = ({ shown }: Scenery) => shown.toSorted((p, q) => p.picture - q.picture);

const VIEWS: readonly (readonly [string, Oracle])[] = [
  [
    "(?:List the objects with their marks|Which object has which mark).",
    (s) => {
      const told = new Set(s.shown.map((o) => `mark ${detail(o, "mark")} ${nameOf(o.thing)}`));
      return `${[...told].toSorted().join(", ").replace(/^m/, "M")}.`;
    },
  ],
  ["(?:Which object has|What is the object with) mark (\\d)\\?", (s, m = "") => nameOf(marked(s, m).thing)],
  ["What colour is the object with mark (\\d)\\?", (s, m = "") => trait(marked(s, m), "colour")],
  [
    "(?:Which mark does|What is the mark of) the (\\w+ \\w+)(?: have)?\\?",
    (s, name = "") => detail(s.shown.find(({ thing }) => nameOf(thing).endsWith(name)) as Shown, "mark"),
  ],
  ["(?:How many objects are there|Count the objects).", (s) => COUNTS[names(s).length]],
  ["How many views are there\\?", (s) => COUNTS[s.pictures.length]],
  [
    "How many views show the (.*)\\?",
    (s, name = "") => COUNTS[s.shown.filter(({ thing }) => nameOf(thing).endsWith(name)).length],
  ],
];

const NEEDLES: readonly (readonly [string, Oracle])[] = [
  ["(?:How many cards are there|Count the cards).", (s) => COUNTS[s.shown.length]],
  ["What colour is the card\\?", (s) => detail(only(s.shown), "colour")],
  [
    `What is written on the ${COLOUR} card\\?`,
    (s, c) => (only(s.shown.filter((card) => detail(card, "colour") === c)).thing as { text: string }).text,
  ],
  ["What colour is the card with the (.*)\\?", (s, name = "") => detail(called(s, name), "colour")],
  [
    "(?:What colour is the (first|last) card|Which card comes (first|last))\\?",
    (s, p, q) => detail(byPicture(s).at((p ?? q) === "first" ? 0 : -1) as Shown, "colour"),
  ],
  ["(?:What|Which) (?:word|number) .*", (s) => (only(s.shown).thing as { text: string }).text],
  ["(?:What|Which object) (?:is on|does) the card.*", (s) => nameOf(only(s.shown).thing)],
];

/** Kinds, and what answers all of their questions. */
const CASES: readonly (readonly [Kind, readonly (readonly [string, Oracle])[]])[] = [
  ["count", IMAGE],
  ["colour", IMAGE],
  ["shape", IMAGE],
  ["position", IMAGE],
  ["read", IMAGE],
  ["motion", MOTIONS],
  ["order", SLIDES],
  ["views", VIEWS],
  ["needle", NEEDLES],
];

describe("answers agree with what is shown", () => {
  for (const split of ["train", "heldout"] as const) {
    it.each(CASES)(`to %s questions (${split})`, (kind, oracles) => {
      for (let seed = 0; seed < 150; seed++) {
        const { scenery, turns } = composeSample(seed, { split, kinds: { [kind]: 1 } });
        for (const { question, answer } of turns) {
          const knows = oracles.find(([pattern]) => new RegExp(`^${pattern}$`).test(question));
          const [pattern = "", oracle] = knows ?? [];
          const words = new RegExp(`^${pattern}$`).exec(question)?.slice(1) ?? [];
          const told = answer.replace(/^.*, so (.*)\.$/, "$1");
          expect({ seed, question, told }).toEqual({ seed, question, told: oracle?.(scenery, ...words) });
        }
      }
    });
  }
});

/** Says again what is true of the pictures, where a reason claims something about them. */
const CLAIMS: readonly (readonly [string, Oracle])[] = [
  [
    `an? (\\w+ ${SHAPE} ${ZONE})`,
    (s, claim, _, zone) => {
      const [name = ""] = (claim as string).split(/ (?:at|on|in) the /);
      const there = objects(s).find((o) => zoneOf(s, o) === zone);
      return there && nameOf(there.thing).endsWith(name) ? claim : undefined;
    },
  ],
  [`the (\\w+ \\w+) is ${ZONE}`, (s, name = "") => `the ${name} is ${zoneOf(s, called(s, name))}`],
  [`${one(ORDINALS)} (.*)`, (s, o = "") => `${o} ${sequence(s)[ORDINALS.indexOf(o)]}`],
  ["mark (\\d) .*", (s, m = "") => `mark ${m} ${nameOf(marked(s, m).thing)}`],
];

describe("reasons", () => {
  it.each(["count", "position", "order", "views"] as const)("are true of what is shown (%s)", (kind) => {
    let reasons = 0;
    for (let seed = 0; seed < 150; seed++) {
      const { scenery, turns } = composeSample(seed, { split: "train", kinds: { [kind]: 1 } });
      for (const { question, answer } of turns) {
        const claims = answer.includes(", so ") ? answer.replace(/, so .*/, "").split(", ") : [];
        for (const [i, said] of claims.entries()) {
          if (/^view | before /i.test(said)) continue;
          const claim = i === 0 ? said.charAt(0).toLowerCase() + said.slice(1) : said;
          const told = CLAIMS.flatMap(([pattern, oracle]) => {
            const match = new RegExp(`^${pattern}$`).exec(claim);
            return match ? [oracle(scenery, ...match.slice(1))] : [];
          });
          const bare = (text: string | undefined) => text?.replace(/^an? |\b(at|on|in) the /g, "");
          expect({ seed, question, claim, told: told.map(bare) }).toEqual({
            seed,
            question,
            claim,
            told: [bare(claim)],
          });
          reasons++;
        }
      }
    }
    expect(reasons).toBeGreaterThan(100);
  });

  it("are the views in which an object is shown", () => {
    for (let seed = 0; seed < 150; seed++) {
      const { scenery, turns } = composeSample(seed, { split: "train", kinds: { views: 1 } });
      for (const { question, answer } of turns.filter(({ question }) =>
        question.startsWith("How many views show"),
      )) {
        const name = /the (.*)\?/.exec(question)?.[1] ?? "";
        const shown = scenery.shown.filter(({ thing }) => nameOf(thing).endsWith(name));
        const views = shown.map(({ picture }) => `view ${picture + 1}`).toSorted();
        expect({
          seed,
          told: answer
            .toLowerCase()
            .replace(/, so .*/, "")
            .split(", "),
        }).toEqual({ seed, told: views });
      }
    }
  });

  it("are what is shown up to the thing asked about, and the one behind it where that is asked", () => {
    let told = 0;
    for (let seed = 0; seed < 100; seed++) {
      const { scenery, turns } = composeSample(seed, { split: "train", kinds: { order: 1 } });
      const shown = sequence(scenery);
      for (const { question, answer } of turns) {
        const [, side, name = ""] = /(right after|follows|right before) the (.*)\?/.exec(question) ?? [];
        if (side === undefined) continue;
        const at = shown.findIndex((thing) => thing.endsWith(name));
        const upTo = shown.slice(0, at + 1).map((thing, i) => `${ORDINALS[i]} ${thing}`);
        const right =
          side === "right before"
            ? `${upTo.join(", ")}, so ${shown[at - 1]}.`
            : `${upTo.join(", ")} before ${shown[at + 1]}, so ${shown[at + 1]}.`;
        expect({ seed, answer: answer.toLowerCase() }).toEqual({ seed, answer: right.toLowerCase() });
        told++;
      }
    }
    expect(told).toBeGreaterThan(50);
  });

  it("are all steps where they are counted, and those up to the one asked about", () => {
    let told = 0;
    for (let seed = 0; seed < 200; seed++) {
      const { turns } = composeSample(seed, { split: "train", kinds: { steps: 1 } });
      const whole = turns.find(({ answer }) => answer.startsWith("To "))?.answer.replace(/^.*?: /, "");
      if (whole === undefined) continue;
      const steps = whole.split(/ (?=\d\.)/);
      for (const { question, answer } of turns.filter(({ answer }) => answer.includes(", so "))) {
        const asked = /right after "(.*)"/.exec(question)?.[1];
        const at = steps.findIndex((step) => step.slice(3) === asked);
        const next = steps[at + 1] ?? "";
        const right =
          asked === undefined
            ? `${whole}, so ${COUNTS[steps.length]}.`
            : `${steps.slice(0, at + 1).join(" ")} before ${next}, so ${next.slice(3)}.`;
        expect({ seed, answer }).toEqual({ seed, answer: right });
        told++;
      }
    }
    expect(told).toBeGreaterThan(50);
  });
});

describe("a description", () => {
  it("names every object of the image with its colour and zone, in reading order", () => {
    const claim = new RegExp(`an? ${COLOUR} ${SHAPE} ${ZONE}`);
    for (let seed = 0; seed < 150; seed++) {
      const { scenery, turns } = composeSample(seed, { split: "train", kinds: { describe: 1 } });
      const { answer } = turns.find(({ answer }) => / (at|on|in) the /.test(answer)) ?? { answer: "" };
      const told = answer
        .split(/[:,.] ?| and /)
        .flatMap((clause) => claim.exec(clause)?.slice(1).join(" ") ?? []);
      const seen = objects(scenery).map(
        (o) => `${trait(o, "colour")} ${trait(o, "shape")} ${zoneOf(scenery, o)}`,
      );
      expect({ seed, told }).toEqual({ seed, told: seen });
    }
  });
});
