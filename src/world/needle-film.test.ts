import { describe, expect, it } from "vitest";
import type { RgbImage } from "../media/media.ts";
import { COLOURS } from "./language.ts";
import { drawNeedleCards, drawNeedleScenes, MOST_DISTRACTORS } from "./needle-film.ts";

const single = { variant: "single", distractors: 0, heldOut: false } as const;

describe("cards to hide", () => {
  it("are the same for the same seed, and others for another", async () => {
    const [one, same, other] = [
      await drawNeedleCards(5, single),
      await drawNeedleCards(5, single),
      await drawNeedleCards(6, single),
    ];
    const { data } = one.cards[0] as RgbImage;
    expect(same.questions).toEqual(one.questions);
    expect(Buffer.from(data).equals(same.cards[0]?.data as Uint8Array)).toBe(true);
    expect(Buffer.from(data).equals(other.cards[0]?.data as Uint8Array)).toBe(false);
  });

  it("have the size of the film of their seed, or the size that is asked for", async () => {
    for (const seed of [1, 2, 3]) {
      const { cards, size } = await drawNeedleCards(seed, single);
      expect(size).toEqual(drawNeedleScenes(seed, 16, false).size);
      expect(cards).toHaveLength(1);
      expect(cards[0]).toMatchObject(size);
    }
    const large = await drawNeedleCards(1, { ...single, size: { width: 320, height: 180 } });
    expect(large.cards[0]).toMatchObject({ width: 320, height: 180 });
  });

  it("are asked about by what only the card tells", async () => {
    for (let seed = 0; seed < 30; seed++) {
      const { questions } = await drawNeedleCards(seed, single);
      expect(questions).toHaveLength(1);
      expect(COLOURS).not.toContain(questions[0]?.answer);
      expect(questions[0]?.question).toMatch(/card/);
    }
  });

  it("are two that must both be read, or as many as are counted", async () => {
    const two = await drawNeedleCards(3, { ...single, variant: "two", distractors: 3 });
    expect([two.cards.length, two.distractors.length, two.questions.length]).toEqual([2, 3, 2]);
    expect(new Set(two.questions.map(({ question }) => question)).size).toBe(2);
    const counted = await Promise.all(
      Array.from({ length: 12 }, (_, seed) => drawNeedleCards(seed, { ...single, variant: "count" })),
    );
    const words = ["zero", "one", "two", "three"];
    for (const { cards, questions } of counted) expect(questions[0]?.answer).toBe(words[cards.length]);
    expect(new Set(counted.map(({ cards }) => cards.length))).toEqual(new Set([1, 2, 3]));
  });

  it("are named by their colour when others are hidden too", async () => {
    const { questions } = await drawNeedleCards(4, { ...single, distractors: MOST_DISTRACTORS });
    expect(questions[0]?.question).toMatch(new RegExp(`on the (${COLOURS.join("|")}) card`));
  });

  it.each([
    [{ distractors: -1 }, 0],
    [{ distractors: MOST_DISTRACTORS + 1 }, 0],
    [{ distractors: 1, variant: "count" as const }, 0],
    [{}, -1],
    [{}, 2 ** 30],
  ])("are refused as %o of seed %d", async (options, seed) => {
    await expect(drawNeedleCards(seed, { ...single, ...options })).rejects.toMatchObject({
      code: "bad_option",
    });
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
