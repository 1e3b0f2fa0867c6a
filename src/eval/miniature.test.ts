import { describe, expect, it } from "vitest";
import { planMedia } from "../engine/media.ts";
import { openMedia } from "../node/media.ts";
import { evaluateWorld } from "./evaluate.ts";
import { MINIATURE_WORLD } from "./miniature.ts";
import type { Answerer } from "./question.ts";
import { COLUMNS, rounds, TOPICS } from "./world.ts";

describe("the miniature world's evaluation", () => {
  it("gives its own answers 100%, other questions' answers much less", async () => {
    let last = "";
    const late: Answerer = async ({ expected }) => {
      const got = last;
      last = expected;
      return got;
    };
    const right = await evaluateWorld(MINIATURE_WORLD, async (q) => q.expected, { seed: 0, count: 2 });
    for (const { rates } of right.rows) for (const { rate } of Object.values(rates)) expect(rate).toBe(1);
    const wrong = await evaluateWorld(MINIATURE_WORLD, late, { seed: 0, count: 4, kinds: ["read", "order"] });
    for (const { rates } of wrong.rows)
      for (const { rate } of Object.values(rates)) expect(rate).toBeLessThan(0.5);
  });

  it("is looked at as it is trained on: all frames, on the path of its modality", async () => {
    for (const { questions } of rounds(MINIATURE_WORLD, { seed: 3, count: 1 })) {
      for await (const { media, visual, sample } of questions()) {
        const opened = await openMedia(media[0]!);
        const { plan } = planMedia(opened, visual ?? {});
        expect(plan.modality).toBe(sample.media.modality);
        expect(plan.frameTimesS ?? [0]).toEqual(sample.media.timesS);
      }
    }
  });

  it("shows the larger column's pictures twice as large, with the same questions", async () => {
    const { answers } = await evaluateWorld(MINIATURE_WORLD, async () => "", {
      seed: 1,
      count: 2,
      kinds: ["shape"],
    });
    const [seeds, , larger] = COLUMNS.map((column) => answers.filter((a) => a.column === column));
    expect(larger?.map((a) => a.question)).toEqual(seeds?.map((a) => a.question));
    const topic = TOPICS.find(({ kind }) => kind === "shape");
    const sizes: number[] = [];
    for (const round of rounds(MINIATURE_WORLD, { seed: 1, count: 1, kinds: ["shape"] })) {
      expect(round.topic).toBe(topic);
      for await (const { sample } of round.questions()) sizes.push(sample.media.pictures[0]?.width ?? 0);
    }
    expect(sizes[2]).toBe(2 * (sizes[0] ?? 0));
  });
});
