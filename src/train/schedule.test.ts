import { describe, expect, it } from "vitest";
import { learningRate } from "./schedule.ts";

describe("a learning rate", () => {
  const cosine = { kind: "cosine", peak: 2, steps: 100, warmup: 0.1 } as const;

  it("rises from nothing, then falls along half a cosine to nothing", () => {
    const rates = [0, 5, 10, 55, 100].map((step) => learningRate(cosine, step));
    [0, 1, 2, 1, 0].forEach((rate, i) => {
      expect(rates[i]).toBeCloseTo(rate, 12);
    });
    expect(learningRate(cosine, 10 + 30)).toBeCloseTo(1 + Math.cos(Math.PI / 3), 12);
  });

  it("stays where it is when it is constant", () => {
    const constant = { ...cosine, kind: "constant", warmup: 0.03 } as const;
    expect([0, 1, 3, 99].map((step) => learningRate(constant, step))).toEqual([0, 2 / 3, 2, 2]);
    expect(learningRate({ ...constant, warmup: 0 }, 0)).toBe(2);
  });

  it.each([{ peak: -1 }, { peak: Number.NaN }, { warmup: 2 }, { steps: 0 }])("refuses %o", (bad) => {
    expect(() => learningRate({ ...cosine, ...bad }, 0)).toThrow(/schedule/);
  });
});
