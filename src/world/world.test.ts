import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { RgbImage } from "../media/media.ts";
import { corpus } from "./corpus.ts";
import { PAINTS } from "./draw.ts";
import { LEAST_CAPITALS, LEAST_OBJECT, sightOf } from "./eye.ts";
import {
  a,
  COLOURS,
  type Colour,
  ICONS,
  type Icon,
  isLetters,
  MOTIONS,
  type Motion,
  PLACES,
  type Place,
  SHAPES,
  the,
  WORDS,
} from "./language.ts";
import { KINDS, type Kind, type WorldOptions, type WorldTurn } from "./sample.ts";
import type { Scenery } from "./scenery.ts";
import { factsOf, score } from "./score.ts";
import { heldOutCard, heldOutMotion, heldOutObject, heldOutSteps, heldOutText } from "./split.ts";
import { composeSample, worldSample } from "./world.ts";

const train = (kind: Kind): WorldOptions => ({ split: "train", kinds: { [kind]: 1 } });
const heldout = (kind: Kind): WorldOptions => ({ split: "heldout", kinds: { [kind]: 1 } });

describe("a sample", () => {
  it("is the same whenever it is drawn, to the byte", async () => {
    for (const kind of KINDS) {
      const [one, again] = [await worldSample(7, train(kind)), await worldSample(7, train(kind))];
      expect(again.turns).toEqual(one.turns);
      expect(again.media.pictures.length).toBe(one.media.pictures.length);
      for (const [i, picture] of one.media.pictures.entries()) {
        expect(Buffer.compare(picture.data, (again.media.pictures[i] as RgbImage).data)).toBe(0);
      }
      expect((await worldSample(8, train(kind))).turns).not.toEqual(one.turns);
    }
  });

  it("does not change unnoticed: trained models and measured figures stand on it", () => {
    const samples = KINDS.flatMap((kind) => [train(kind), heldout(kind)]).map((options) =>
      composeSample(1, options),
    );
    const hash = createHash("sha256").update(JSON.stringify(samples)).digest("hex");
    expect(hash.slice(0, 16)).toBe("1dde58e51479b810");
  });

  it("keeps its content when it is drawn larger", async () => {
    for (const kind of ["describe", "motion", "steps"] as const) {
      const small = await worldSample(3, train(kind));
      const large = await worldSample(3, { ...train(kind), scale: 2 });
      expect(large.turns).toEqual(small.turns);
      expect(large.media.pictures.map((p) => p.width)).toEqual(small.media.pictures.map((p) => 2 * p.width));
    }
  });

  it("has sizes and frames within their ranges", async () => {
    for (const kind of KINDS) {
      for (let seed = 0; seed < (kind === "needle" ? 2 : 10); seed++) {
        const { modality, pictures, timesS } = (await worldSample(seed, train(kind))).media;
        const frames = { image: [1, 1], video: [2, 16], video_long: [65, 256] } as const;
        const [least, most] = kind === "page" ? frames.image : frames[modality];
        expect(pictures.length).toBeGreaterThanOrEqual(least);
        expect(pictures.length).toBeLessThanOrEqual(most);
        expect(timesS).toEqual(pictures.map((_, i) => i));
        for (const { width, height, data } of pictures) {
          expect(Math.min(width, height)).toBeGreaterThanOrEqual(64);
          expect(Math.max(width, height)).toBeLessThanOrEqual(512);
          expect(data.length).toBe(3 * width * height);
        }
      }
    }
  });

  it("hides each card in one frame of a film as long as it is asked to be", async () => {
    const { scenery } = composeSample(5, { ...train("needle"), needle: { frames: 120 } });
    expect(scenery.pictures.length).toBe(120);
    expect(scenery.shown.length).toBeGreaterThan(0);
    for (const { picture } of scenery.shown) {
      expect(scenery.pictures.filter((marks) => marks === scenery.pictures[picture])).toHaveLength(1);
    }
  });

  it("is easy where that is asked: small, with few things, and films with a frame for each", async () => {
    for (let seed = 0; seed < 60; seed++) {
      const easy = { things: 1 + (seed % 4), side: 96, texts: seed % 2 };
      const { media, turns } = await worldSample(seed, { ...train("summary"), easy });
      const [{ answer }] = turns as [WorldTurn];
      expect(media.modality).toBe("video");
      expect(media.pictures.length).toBeLessThanOrEqual(easy.things);
      expect(media.pictures.length).toBe(
        /^1\./.test(answer) ? answer.split(". ").length - 1 : factsOf(answer).length,
      );
      for (const { width, height } of media.pictures) {
        expect(Math.min(width, height)).toBeGreaterThanOrEqual(64);
        expect(Math.max(width, height)).toBeLessThanOrEqual(96);
      }
      const isText = /the (word|number|letters?) /.test(answer);
      if (/^First/.test(answer)) expect(isText).toBe(easy.texts === 1);
    }
  });

  it("has long films of at most a dozen frames for each thing where it is easy", () => {
    for (let seed = 0; seed < 40; seed++) {
      const easy = { things: 1 + (seed % 4), side: 128 };
      const { scenery, modality } = composeSample(seed, { ...train("needle"), easy });
      expect(modality).toBe("video_long");
      expect(scenery.pictures.length).toBeGreaterThanOrEqual(5);
      expect(scenery.pictures.length).toBeLessThanOrEqual(12 * easy.things);
    }
  });

  it("has letters instead of words as often as it is asked, in films and on images", () => {
    for (const kind of ["summary", "describe"] as const) {
      for (const letters of [0, 1]) {
        for (let seed = 0; seed < 30; seed++) {
          const easy = { things: 1, side: 96, texts: 1, letters };
          const { scenery } = composeSample(seed, { ...train(kind), easy });
          const texts = scenery.shown.flatMap(({ thing }) => ("text" in thing ? [thing.text] : []));
          expect(texts).not.toEqual([]);
          for (const text of texts)
            expect({ seed, text, is: isLetters(text) }).toMatchObject({ is: letters === 1 });
        }
      }
    }
  });

  it("writes letters within the picture, large enough to read, wherever they stand", () => {
    for (let seed = 0; seed < 200; seed++) {
      const easy = { things: 1, side: 64 + (seed % 60), texts: 1, letters: 1 };
      const { scenery, modality } = composeSample(seed, { ...train("summary"), easy });
      const { width, height } = scenery.size;
      const { shrink } = sightOf(scenery.size, modality);
      for (const { x, y, size } of scenery.shown) {
        expect(size * shrink).toBeGreaterThanOrEqual(0.999 * LEAST_CAPITALS);
        expect(Math.min(x, width - x)).toBeGreaterThan(0.3 * size);
        expect(Math.min(y, height - y)).toBeGreaterThanOrEqual(0.5 * size);
      }
    }
  });

  it("has tables of one or two views, with marks that do not tell how many objects there are, where it is easy", () => {
    const marks = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      const { scenery } = composeSample(seed, { ...train("views"), easy: { things: 1, side: 96 } });
      expect(scenery.pictures.length).toBeLessThanOrEqual(2);
      const objects = new Map(scenery.shown.map(({ thing }) => [JSON.stringify(thing), thing]));
      expect(objects.size).toBe(1);
      for (const thing of objects.values()) marks.add((thing as unknown as { mark: number }).mark);
    }
    expect([...marks].sort()).toEqual([1, 2, 3, 4]);
  });

  it("has short films of what moves where it is easy", () => {
    for (let seed = 0; seed < 20; seed++) {
      const { scenery } = composeSample(seed, { ...train("motion"), easy: { things: 2, side: 96 } });
      expect(scenery.pictures.length).toBeGreaterThanOrEqual(4);
      expect(scenery.pictures.length).toBeLessThanOrEqual(6);
      expect(Math.max(scenery.size.width, scenery.size.height)).toBeLessThanOrEqual(96);
    }
  });

  it("spells letters that are no word", () => {
    expect(the({ text: "PQR" })).toBe("the letters P-Q-R");
    expect(the({ text: "P" })).toBe("the letter P");
    expect(the({ text: "MAP" })).toBe("the word MAP");
  });

  it("shows one object on a card of a long film that is asked for", () => {
    for (let seed = 0; seed < 20; seed++) {
      const options = { ...train("needle"), needle: { frames: 90, object: true } };
      const { scenery, turns } = composeSample(seed, options);
      const { thing } = scenery.shown[0] as (typeof scenery.shown)[0];
      expect({ seed, cards: scenery.shown.length, shows: a(thing) }).toEqual({
        seed,
        cards: 1,
        shows: turns[0]?.answer,
      });
    }
  });

  it("hides as many cards in a film as it is asked to, and asks about each", () => {
    for (let seed = 0; seed < 20; seed++) {
      const { scenery, turns } = composeSample(seed, {
        ...train("needle"),
        needle: { frames: 90, cards: 5 },
      });
      expect(scenery.pictures.length).toBe(90);
      expect(new Set(scenery.shown.map(({ picture }) => picture)).size).toBe(5);
      expect(turns.length).toBeGreaterThanOrEqual(5);
      expect(new Set(turns.map(({ question }) => question)).size).toBe(turns.length);
    }
  });

  it("is refused with options that make no sense", async () => {
    const bad: readonly [number, WorldOptions][] = [
      [-1, train("read")],
      [1.5, train("read")],
      [1, { split: "train", kinds: {} }],
      [1, { split: "train", kinds: { read: Number.NaN } }],
      [1, { ...train("read"), scale: 0 }],
      [1, { ...train("needle"), needle: { frames: 1e9 } }],
      [1, { ...train("needle"), needle: { cards: 7 } }],
      [1, { ...train("needle"), needle: { cards: 1, object: true } }],
      [1, { ...train("needle"), needle: { cards: 2 }, easy: { things: 1, side: 96 } }],
    ];
    for (const [seed, options] of bad) {
      await expect(worldSample(seed, options)).rejects.toMatchObject({ code: "bad_option" });
    }
  });
});

describe("pictures", () => {
  it.each(["describe", "motion", "order", "views"] as const)(
    "have the colours that are told (%s)",
    async (kind) => {
      for (let seed = 0; seed < 12; seed++) {
        for (const scale of [1, 2]) {
          const { scenery } = composeSample(seed, train(kind));
          const { media } = await worldSample(seed, { ...train(kind), scale });
          for (const { picture, thing, x, y } of scenery.shown) {
            if ("text" in thing) continue;
            const { width, data } = media.pictures[picture] as RgbImage;
            const place = 3 * (Math.round(y * scale) * width + Math.round(x * scale));
            expect({ seed, colour: nearestColour(data.subarray(place, place + 3)) }).toEqual({
              seed,
              colour: thing.colour,
            });
          }
        }
      }
    },
  );

  it.each(["describe", "order", "views"] as const)(
    "show objects that are large enough when encoded (%s)",
    (kind) => {
      for (let seed = 0; seed < 100; seed++) {
        const { scenery, modality } = composeSample(seed, train(kind));
        const { shrink } = sightOf(scenery.size, modality);
        for (const { thing, size } of scenery.shown) {
          expect(size * shrink).toBeGreaterThan("text" in thing ? 13.9 : 0.9 * LEAST_OBJECT);
        }
      }
    },
  );
});

function nearestColour(pixel: Uint8Array): string {
  const distance = (paint: string) =>
    [1, 3, 5].reduce(
      (sum, at, c) => sum + (Number.parseInt(paint.slice(at, at + 2), 16) - (pixel[c] as number)) ** 2,
      0,
    );
  return COLOURS.toSorted((p, q) => distance(PAINTS[p]) - distance(PAINTS[q]))[0] as string;
}

describe("the split", () => {
  it("leaves every colour, shape, word, motion and icon to training", () => {
    for (const colour of COLOURS)
      expect(SHAPES.filter((shape) => heldOutObject(colour, shape))).toHaveLength(1);
    for (const shape of SHAPES) {
      expect(COLOURS.filter((colour) => heldOutObject(colour, shape)).length).toBeLessThanOrEqual(1);
      expect(MOTIONS.filter((motion) => heldOutMotion(motion, shape)).length).toBeLessThanOrEqual(1);
    }
    for (const word of WORDS) {
      expect(PLACES.filter((place) => heldOutText(word, place)).length).toBeLessThanOrEqual(1);
      expect(COLOURS.filter((colour) => heldOutCard(word, colour)).length).toBeLessThanOrEqual(1);
    }
    for (const icon of ICONS) {
      expect(ICONS.filter((next) => heldOutSteps(icon, next)).length).toBeLessThanOrEqual(2);
    }
  });

  it("keeps held-out combinations out of training: pictures, questions and answers", () => {
    for (const kind of KINDS) {
      for (let seed = 0; seed < 150; seed++) {
        const { scenery, turns } = composeSample(seed, train(kind));
        for (const { thing } of scenery.shown) {
          if (!("text" in thing)) expect(heldOutObject(thing.colour, thing.shape)).toBe(false);
        }
        for (const turn of turns) expect({ turn, found: heldOutIn(turn) }).toEqual({ turn, found: [] });
      }
    }
  });

  it.each(KINDS)("asks about a held-out combination in each sample kept from training (%s)", (kind) => {
    for (let seed = 0; seed < 100; seed++) {
      const { scenery, turns } = composeSample(seed, heldout(kind));
      const text = turns.map(({ question, answer }) => `${question} ${answer}`).join(" ");
      const named = turns.flatMap(heldOutIn);
      expect({ seed, text, asked: named.length > 0 || halfNamed(scenery, text) }).toMatchObject({
        asked: true,
      });
    }
  });
});

/** Whether words name one half of a held-out combination that is shown: "What colour is the star?" */
function halfNamed({ shown, size }: Scenery, words: string): boolean {
  return shown.some(({ thing, y }) => {
    if ("text" in thing) {
      const place = PLACES[Math.floor((3 * y) / size.height)] as Place;
      const { colour } = thing as { colour?: Colour }; // of the card on which it stands
      if (colour && heldOutCard(thing.text, colour))
        return words.includes(colour) || words.includes(thing.text);
      return colour === undefined && heldOutText(thing.text, place) && words.includes(thing.text);
    }
    const { colour, shape } = thing;
    if (MOTIONS.some((motion) => heldOutMotion(motion, shape) && words.includes(motion))) return true;
    return heldOutObject(colour, shape) && (words.includes(colour) || words.includes(shape));
  });
}

/** Held-out combinations in the words of a turn. */
function heldOutIn({ question, answer }: WorldTurn): string[] {
  const text = `${question} ${answer}`;
  const colour = `(${COLOURS.join("|")})`;
  const shape = `(${SHAPES.join("|")})`;
  const motion = `(${MOTIONS.join("|")})`;
  type C = (typeof COLOURS)[number];
  type S = (typeof SHAPES)[number];
  const found = (pattern: string, heldOut: (p: string, q: string) => boolean): string[] =>
    [...text.matchAll(new RegExp(pattern, "g"))]
      .filter((m) => heldOut(m[1] ?? "", m[2] ?? ""))
      .map((m) => m[0]);
  return [
    ...found(`${colour} ${shape}`, (c, s) => heldOutObject(c as C, s as S)),
    ...found(`the ${shape} is ${colour}`, (s, c) => heldOutObject(c as C, s as S)),
    ...found(`What colour is the ${shape}\\?.*?${colour}`, (s, c) => heldOutObject(c as C, s as S)),
    ...found(`${shape} ${motion}`, (s, m) => heldOutMotion(m as Motion, s as S)),
    ...found(`does the \\w+ ${shape} do\\?.*? it ${motion}`, (s, m) => heldOutMotion(m as Motion, s as S)),
    ...found("([A-Z]{3,}|\\d\\d) is (?:at|in) the (\\w+)", (t, p) => heldOutText(t, p as Place)),
    ...found("written (?:at|in) the (\\w+)\\? (\\w+)", (p, t) => heldOutText(t, p as Place)),
    ...found(`on the ${colour} card\\? (\\w+)`, (c, t) => heldOutCard(t, c as C)),
    ...found("\\d\\. \\w+ (\\w+) (?:before )?(?=\\d\\. \\w+ (\\w+))", (p, q) =>
      heldOutSteps(p as Icon, q as Icon),
    ),
  ];
}

describe("scoring", () => {
  const turns = KINDS.flatMap((kind) =>
    Array.from({ length: 6 }, (_, seed) =>
      composeSample(seed, train(kind)).turns.filter((t) => t.kind === kind),
    ).flat(),
  );

  it("accepts the right answer, in any case and with or without its full stop", () => {
    for (const turn of turns) {
      for (const answer of [turn.answer, turn.answer.toLowerCase(), ` ${turn.answer}.`]) {
        expect({ turn, score: score(turn, answer) }).toMatchObject({ score: { correct: true } });
      }
    }
  });

  /** What it comes to: reasons, articles and full stops make no difference. */
  const bare = (answer: string) =>
    answer
      .toLowerCase()
      .replace(/^.*, so /, "")
      .replace(/^(an?|the) |\.$/g, "");

  it("refuses every other answer", () => {
    for (const turn of turns) {
      for (const other of turns) {
        if (bare(other.answer) === bare(turn.answer)) continue;
        expect({ turn, other: other.answer, ...score(turn, other.answer) }).toMatchObject({ correct: false });
      }
      for (const empty of ["", "   ", "..."]) expect(score(turn, empty).correct).toBe(false);
    }
  });

  it("gives a share of the facts for a description that is partly right", () => {
    const answer = "There are two objects: a red star at the top and a blue fish on the left.";
    const turn: WorldTurn = { kind: "describe", question: "", answer };
    expect(score(turn, answer)).toEqual({ correct: true, f1: 1 });
    expect(
      score(turn, "There are two objects: a red star at the top and a pink fish on the left.").f1,
    ).toBeCloseTo(2 / 3);
    expect(score(turn, "There is one object: a red star at the top.").f1).toBeCloseTo(2 / 5);
    expect(score(turn, `${answer} ${answer}`)).toMatchObject({ correct: false });
    expect(score(turn, "a house").f1).toBe(0);
  });
});

describe("the corpus", () => {
  it("holds the world's whole vocabulary", () => {
    const said = [...corpus(400, 0)].join(" ");
    for (const word of [...COLOURS, ...SHAPES, ...MOTIONS, ...ICONS, ...WORDS]) expect(said).toContain(word);
  });
});
