import { describe, expect, it } from "vitest";
import type { RgbImage } from "../media/media.ts";
import { COLOURS } from "./language.ts";
import { drawNeedleScenes, MOST_DISTRACTORS, needleCards } from "./needle-film.ts";

const single = { variant: "single", distractors: 0, heldOut: false } as const;

describe("cards to hide", () => {
  it("are the same for the same seed, and others for another", async () => {
    expect(needleCards(5, single).questions).toEqual(needleCards(5, single).questions);
    const drawn = async (seed: number) => {
      const [card] = await needleCards(seed, single).draw();
      return Buffer.from((card as RgbImage).data);
    };
    const one = await drawn(5);
    expect(one.equals(await drawn(5))).toBe(true);
    expect(one.equals(await drawn(6))).toBe(false);
  });

  it("have the size of the film of their seed, or the size that is asked for", async () => {
    for (const seed of [1, 2, 3]) {
      const { draw, size } = needleCards(seed, single);
      const cards = await draw();
      expect(size).toEqual(drawNeedleScenes(seed, 16, false).size);
      expect(cards).toHaveLength(1);
      expect(cards[0]).toMatchObject(size);
    }
    const [large] = await needleCards(1, { ...single, size: { width: 320, height: 180 } }).draw();
    expect(large).toMatchObject({ width: 320, height: 180 });
  });

  it("are asked about by what only the card tells", () => {
    for (let seed = 0; seed < 30; seed++) {
      const { questions } = needleCards(seed, single);
      expect(questions).toHaveLength(1);
      expect(COLOURS).not.toContain(questions[0]?.answer);
      expect(questions[0]?.question).toMatch(/card/);
    }
  });

  it("are two that must both be read, or as many as are counted", async () => {
    const two = needleCards(3, { ...single, variant: "two", distractors: 3 });
    expect([two.asked, (await two.draw()).length, two.questions.length]).toEqual([2, 5, 2]);
    expect(new Set(two.questions.map(({ question }) => question)).size).toBe(2);
    const counted = Array.from({ length: 12 }, (_, seed) =>
      needleCards(seed, { ...single, variant: "count" }),
    );
    const words = ["zero", "one", "two", "three"];
    for (const { asked, questions, draw } of counted) {
      expect(questions[0]?.answer).toMatch(new RegExp(` card, so ${words[asked]}\\.$`));
      expect(await draw()).toHaveLength(asked);
    }
    expect(new Set(counted.map(({ asked }) => asked))).toEqual(new Set([1, 2, 3]));
  });

  it("are named by their colour when others are hidden too", () => {
    const { questions } = needleCards(4, { ...single, distractors: MOST_DISTRACTORS });
    expect(questions[0]?.question).toMatch(new RegExp(`on the (${COLOURS.join("|")}) card`));
  });

  it.each([
    [{ distractors: -1 }, 0],
    [{ distractors: MOST_DISTRACTORS + 1 }, 0],
    [{ distractors: 1, variant: "count" as const }, 0],
    [{}, -1],
    [{}, 2 ** 30],
  ])("are refused as %o of seed %d", (options, seed) => {
    const refused = expect.objectContaining({ code: "bad_option" });
    expect(() => needleCards(seed, { ...single, ...options })).toThrow(refused);
  });
});

describe("scenes without a card", () => {
  it("are the same however they are asked for, and however long the film is", async () => {
    const film = drawNeedleScenes(9, 300, false);
    const all = await film.frames(0, 300);
    expect(all).toHaveLength(300);
    // Comparing pixel by pixel, as toEqual does, takes minutes.
    const bytes = (pictures: readonly RgbImage[]) => Buffer.concat(pictures.map(({ data }) => data));
    const isPart = async (part: Promise<RgbImage[]>, from: number, to: number) =>
      bytes(await part).equals(bytes(all.slice(from, to)));
    expect(await isPart(film.frames(120, 140), 120, 140)).toBe(true);
    expect(await isPart(drawNeedleScenes(9, 200, false).frames(150, 200), 150, 200)).toBe(true);
    expect(await isPart(film.frames(120, 140), 121, 141)).toBe(false);
    expect(new Set(all).size).toBeLessThan(200); // what does not change is one object
  });
});
