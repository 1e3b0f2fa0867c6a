import { describe, expect, it } from "vitest";
import { counted, EMPTY, joined, rateOf } from "./tally.ts";

describe("rateOf", () => {
  it.each([
    // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])("gives the published interval of %d in %d", (points, questions, low, high) => {
    const rate = rateOf({ questions, points });
    expect(rate?.low).toBeCloseTo(low, 4);
    expect(rate?.high).toBeCloseTo(high, 4);
    expect(rate?.rate).toBe(points / questions);
  });

  it("is as wide above as below, and knows nothing of nothing", () => {
    const [few, many] = [rateOf({ questions: 20, points: 2 }), rateOf({ questions: 20, points: 18 })];
    expect(many?.high).toBeCloseTo(1 - (few?.low ?? 0), 12);
    expect(rateOf(EMPTY)).toBeUndefined();
  });

  it("adds up scores", () => {
    const tally = [1, 0.5, 0, 1].reduce(counted, EMPTY);
    expect(rateOf(joined([tally, tally]))).toMatchObject({ questions: 8, rate: 5 / 8 });
  });
});
