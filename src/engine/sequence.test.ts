import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chunks, type Stretch, sequenceLength } from "./sequence.ts";

const WIDTH = 3;
let next = 0;
/** Stretches whose every token and visual row is told apart by its number. */
const stretch: fc.Arbitrary<Stretch> = fc.oneof(
  fc.array(fc.nat(999), { maxLength: 9 }).map((ids) => ({ ids })),
  fc.integer({ min: 1, max: 9 }).map((count) => ({
    count,
    visual: Float32Array.from({ length: count * WIDTH }, () => next++),
  })),
);

/** Token by token: an id, or the first number of a visual row. */
const tokensOf = (sequence: readonly Stretch[]): string[] =>
  sequence.flatMap((s) =>
    "ids" in s
      ? s.ids.map((id) => `id ${id}`)
      : Array.from({ length: s.count }, (_, i) => `row ${s.visual[i * WIDTH]}`),
  );

describe("chunks of a sequence", () => {
  it("joined are the sequence, and none is longer than allowed", () => {
    fc.assert(
      fc.property(fc.array(stretch, { maxLength: 6 }), fc.integer({ min: 1, max: 20 }), (sequence, most) => {
        const tokens: string[] = [];
        for (const c of chunks(sequence, WIDTH, () => most)) {
          expect(c.order.length).toBeLessThanOrEqual(most);
          expect(c.visual.length).toBe(c.visuals * WIDTH);
          for (const at of c.order) {
            const row = Number(at) - c.ids.length;
            tokens.push(row < 0 ? `id ${c.ids[Number(at)]}` : `row ${c.visual[row * WIDTH]}`);
          }
        }
        expect(tokens).toEqual(tokensOf(sequence));
        expect(tokens.length).toBe(sequenceLength(sequence));
      }),
    );
  });

  it("may shrink on the way", () => {
    const sizes = [...chunks([{ ids: [1, 2, 3, 4, 5, 6, 7] }], WIDTH, (done) => (done === 0 ? 4 : 2))];
    expect(sizes.map((c) => c.order.length)).toEqual([4, 2, 1]);
  });
});
