import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Oryx } from "../node/oryx.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const media = (name: string) => `${GOLDEN}/media/${name}`;
const frames = {
  frames: ["f0.png", "f1.png", "f2.png", "f3.png", "f4.png"].map((f) => ({ source: media(f) })),
};

interface GoldenCase {
  name: string;
  prompt: string;
  greedy: number[];
  sequence_length: number;
}
const cases = JSON.parse(readFileSync(`${GOLDEN}/cases.json`, "utf8")).cases as GoldenCase[];
const golden = (name: string) => cases.find((c) => c.name === name) as GoldenCase;

describe("a conversation", () => {
  let oryx: Oryx;
  beforeAll(async () => {
    oryx = await Oryx.load(GOLDEN, { contextTokens: 4096 });
  });
  afterAll(() => oryx.close());

  it("plans before it works, and the plan counts what the reference counts", async () => {
    const { prompt, sequence_length } = golden("image");
    const answer = await oryx.ask({ media: [media("image.png")], question: prompt, maxTokens: 4 }).answer();
    expect(answer.plan.promptTokens).toBe(sequence_length);
    expect(answer.tokens).toBe(4);
    expect(answer.finish).toBe("length");
  });

  it("treats a list of frames as one video", async () => {
    const { prompt, sequence_length } = golden("video");
    const answer = await oryx.ask({ media: [frames], question: prompt, maxTokens: 4 }).answer();
    expect(answer.plan.promptTokens).toBe(sequence_length);
    expect(answer.frameTimesS).toEqual([[0, 1, 2, 3, 4]]);
  });
});
