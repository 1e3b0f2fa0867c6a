import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluationSeeds, MOST, MOST_TOPICS } from "../eval/seeds.ts";
import { FIRST_TRAINING_SEED, trainingSeed } from "./seeds.ts";

describe("seeds of the world", () => {
  it("are of evaluation up to where training's begin", () => {
    const last = [...evaluationSeeds(MOST.seed, MOST_TOPICS - 1)];
    expect(Math.max(...last)).toBe(FIRST_TRAINING_SEED - 1);
    expect([...evaluationSeeds(0, 0)][0]).toBe(0);
  });

  it("are of training from there to the last one that the world takes, 2^50", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (seed) => {
        const first = trainingSeed(seed);
        expect(first).toBeGreaterThanOrEqual(FIRST_TRAINING_SEED);
        expect(first + 1_000_000_000).toBeLessThanOrEqual(2 ** 50);
        expect(first % 2 ** 32).toBe(0);
      }),
    );
    expect(trainingSeed(0)).toBe(FIRST_TRAINING_SEED);
    expect(trainingSeed(7)).not.toBe(trainingSeed(8));
  });
});
