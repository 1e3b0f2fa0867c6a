import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { argmax, Sampler } from "./sampler.ts";

const logits = () => Float32Array.of(0, 1, 2, 3, 2.5);

/** How often each token is drawn. */
function frequencies(options: ConstructorParameters<typeof Sampler>[0], draws = 20_000): number[] {
  const sampler = new Sampler(options);
  const counts = [0, 0, 0, 0, 0];
  for (let i = 0; i < draws; i++) {
    const id = sampler.next(logits());
    counts[id] = (counts[id] as number) + 1 / draws;
  }
  return counts;
}

function softmax(values: number[], temperature: number): number[] {
  const weights = values.map((v) => Math.exp(v / temperature));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((w) => w / total);
}

describe("sampling", () => {
  it("is greedy by default, and takes the first of equals", () => {
    expect(new Sampler().next(logits())).toBe(3);
    expect(argmax(Float32Array.of(1, 5, 5))).toBe(1);
  });

  it("draws with the probabilities of the softmax at the temperature", () => {
    const expected = softmax([0, 1, 2, 3, 2.5], 0.7);
    frequencies({ temperature: 0.7, seed: 1 }).forEach((f, i) => {
      expect(Math.abs(f - (expected[i] as number))).toBeLessThan(0.015);
    });
  });

  it("top-k leaves only the k most likely", () => {
    const [a, b, c, d, e] = frequencies({ temperature: 1, topK: 2, seed: 2 }) as [
      number,
      number,
      number,
      number,
      number,
    ];
    expect([a, b, c]).toEqual([0, 0, 0]);
    expect(d / e).toBeCloseTo(Math.exp(0.5), 1);
  });

  it("top-p leaves the fewest tokens that together reach it", () => {
    // Probabilities: 0.47 (3), 0.29 (4), 0.17 (2), 0.06, 0.02.
    const counts = frequencies({ temperature: 1, topP: 0.7, seed: 3 });
    expect(counts.map((f) => f > 0)).toEqual([false, false, false, true, true]);
    expect(frequencies({ temperature: 1, topP: 0.1, seed: 3 })[3]).toBeCloseTo(1);
  });

  it("the same seed draws the same tokens, another one others", () => {
    const draw = (seed: number) => {
      const sampler = new Sampler({ temperature: 2, seed });
      return Array.from({ length: 50 }, () => sampler.next(logits()));
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  it("penalises what was generated, whatever the logit's sign", () => {
    const sampler = new Sampler({ repetitionPenalty: 2 });
    expect(sampler.next(Float32Array.of(4, 3))).toBe(0);
    expect(sampler.next(Float32Array.of(4, 3))).toBe(1);
    const negative = new Sampler({ repetitionPenalty: 2 });
    expect(negative.next(Float32Array.of(-1, -1.5))).toBe(0);
    expect(negative.next(Float32Array.of(-1, -1.5))).toBe(1);
  });

  it("always draws a token of the vocabulary, also from extreme logits", () => {
    const value = fc.oneof(
      fc.double({ min: -1e30, max: 1e30, noNaN: true }),
      fc.constant(Number.NEGATIVE_INFINITY),
    );
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 30 }), fc.nat(), (values, seed) => {
        const id = new Sampler({ temperature: 0.8, topK: 5, topP: 0.9, seed }).next(
          Float32Array.of(...values, 0),
        );
        expect(id).toBeGreaterThanOrEqual(0);
        expect(id).toBeLessThan(values.length + 1);
      }),
    );
  });

  it("refuses logits that are no numbers, rather than answer nonsense", () => {
    const failed = expect.objectContaining({ code: "runtime_failed" });
    expect(() => new Sampler().next(Float32Array.of(Number.NaN, Number.NaN))).toThrow(failed);
    expect(() => new Sampler().next(Float32Array.of(1, Number.POSITIVE_INFINITY))).toThrow(failed);
  });

  it.each([
    { temperature: -1 },
    { temperature: Number.NaN },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.1 },
    { repetitionPenalty: 0 },
    { seed: -1 },
    { seed: 0.5 },
  ])("refuses %o", (options) => {
    expect(() => new Sampler(options)).toThrow(expect.objectContaining({ code: "bad_option" }));
  });
});
