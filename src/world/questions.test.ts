import { describe, expect, it } from "vitest";
import { KINDS, type Kind } from "./sample.ts";
import { composeSample } from "./world.ts";

describe("a choice", () => {
  it.each(["choice", "video_choice"] as const)(
    "has four different options, and the reason names the right one (%s)",
    (kind) => {
      const letters = new Map<string, number>();
      for (let seed = 0; seed < 150; seed++) {
        for (const { question, answer } of composeSample(seed, { split: "train", kinds: { [kind]: 1 } })
          .turns) {
          const options = question.split(/ [A-D]\. /).slice(1);
          expect(new Set(options).size).toBe(4);
          const letter = answer.at(-2) as string;
          letters.set(letter, (letters.get(letter) ?? 0) + 1);
          const right = options["ABCD".indexOf(letter)] as string;
          expect(answer).toContain(right.replace(/^(an?|the|it) /, ""));
          expect(answer).toMatch(/^[A-Z].*, so [A-D]\.$/);
        }
      }
      const counts = [...letters.values()];
      expect(Math.min(...counts)).toBeGreaterThan(0.6 * Math.max(...counts));
    },
  );
});

describe("the list of steps", () => {
  it("has three to five steps, one frame each", () => {
    for (let seed = 0; seed < 100; seed++) {
      const { scenery, turns } = composeSample(seed, { split: "train", kinds: { steps: 1 } });
      for (const { answer } of turns.filter(({ answer }) => answer.startsWith("To "))) {
        const steps = answer.match(/\d\. \w+ \w+/g) ?? [];
        expect(steps.length).toBeGreaterThanOrEqual(3);
        expect(scenery.pictures.length - steps.length).toBeGreaterThanOrEqual(0);
        expect(scenery.pictures.length - steps.length).toBeLessThanOrEqual(2);
      }
    }
  });
});

describe("kinds", () => {
  it("all occur, and none but those asked for", () => {
    const even = Object.fromEntries(KINDS.map((kind) => [kind, 1]));
    const seen = new Set<Kind>();
    for (let seed = 0; seed < 300; seed++) {
      for (const { kind } of composeSample(seed, { split: "train", kinds: even }).turns) seen.add(kind);
    }
    expect(seen).toEqual(new Set(KINDS));
    for (let seed = 0; seed < 100; seed++) {
      const { turns } = composeSample(seed, { split: "train", kinds: { read: 1, colour: 2 } });
      for (const { kind } of turns) expect(["read", "colour"]).toContain(kind);
    }
  });
});
