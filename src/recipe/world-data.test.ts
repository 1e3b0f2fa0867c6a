import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Dataset } from "../data/example.ts";
import { openTokenizer } from "../weights/tokenizer.ts";
import { EYE } from "../world/eye.ts";
import { FIRST_TRAINING_SEED } from "../world/seeds.ts";
import { composeSample } from "../world/world.ts";
import { worldDataset } from "./world-data.ts";

const SEED = 3;
const WORLD = { split: "train", kinds: { count: 1, motion: 1 } } as const;

let data: Dataset;
beforeAll(async () => {
  const tokenizer = await openTokenizer("recipes/oryx-tiny");
  const views = EYE;
  data = worldDataset({
    count: 8,
    seed: SEED,
    world: WORLD,
    tokenizer,
    style: "qwen",
    views,
    maxTokens: 8192,
  });
});
afterAll(() => data.close());

describe("a training set of the world", () => {
  it("shows nothing that an evaluation draws: its samples have seeds of their own", async () => {
    expect(data.length).toBe(8);
    for (const index of [0, 7]) {
      const { id } = await data.example(index);
      const seed = Number(id.split("-").at(-1));
      expect(seed).toBe(FIRST_TRAINING_SEED + SEED * 2 ** 32 + index);
      expect(id).toBe(`world-train-${composeSample(seed, WORLD).primary}-${seed}`);
    }
  });

  it("gives the same example for the same number", async () => {
    expect(await data.example(5)).toEqual(await data.example(5));
  });
});
