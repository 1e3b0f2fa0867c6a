import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Example, IGNORED } from "../data/example.ts";
import { languageInputs, microBatches, type Sequence, sequenceOf } from "./batch.ts";

const example = (prompt: Example["prompt"], labels: number[]): Example => ({
  id: "test",
  prompt,
  labels,
  visuals: [],
  tokens: 0,
});

describe("an example as a sequence", () => {
  it("has its visual rows in place, and each label where the token before it stands", () => {
    const rows = Int32Array.of(0, 3, 4, 2);
    const { places, targets, labels } = sequenceOf(
      example([7, { visual: 0 }, 8, 9, 7], [7, IGNORED, 8, IGNORED, 7]),
      [rows],
    );
    expect([...places]).toEqual([7, -1, -4, -5, -3, 8, 9, 7]);
    // The first label follows nothing; that of 8 is predicted from the last visual row.
    expect([...targets]).toEqual([IGNORED, IGNORED, IGNORED, IGNORED, 8, IGNORED, 7, IGNORED]);
    expect(labels).toBe(2);
  });
});

const lengths = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 30 });
const sequence = (length: number, i: number): Sequence => ({
  places: new Int32Array(length).fill(i),
  targets: new Int32Array(length).fill(IGNORED),
  labels: 1,
});

describe("micro-batches", () => {
  it("hold every sequence once, within the limit unless one is longer than it", () => {
    fc.assert(
      fc.property(
        lengths,
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 4 }),
        (list, limit, lanes) => {
          const sequences = list.map(sequence);
          const batches = microBatches(sequences, limit, lanes);
          expect(new Set(batches.flat())).toEqual(new Set(sequences));
          expect(batches.flat()).toHaveLength(sequences.length);
          for (const batch of batches) {
            const longest = Math.max(...batch.map((s) => s.places.length));
            expect(batch.length === 1 || batch.length * longest <= limit).toBe(true);
          }
        },
      ),
    );
  });

  it("are as many as the lanes can share, and about equally large", () => {
    const sizes = (count: number, lanes: number) =>
      microBatches(
        Array.from({ length: count }, () => sequence(300, 0)),
        1024,
        lanes,
      ).map((b) => b.length);
    expect(sizes(16, 1).toSorted()).toEqual([2, 2, 3, 3, 3, 3]);
    expect(sizes(9, 2)).toHaveLength(4);
    expect(sizes(2, 2)).toEqual([1, 1]);
    expect(sizes(1, 2)).toEqual([1]);
  });

  it("are padded at their end, and say which places count", () => {
    const long = sequenceOf(example([5, 6, 7], [IGNORED, 6, IGNORED]), []);
    const short = sequenceOf(example([{ visual: 0 }, 8], [IGNORED, 8]), [Int32Array.of(4)]);
    const { inputs, visual, n, length } = languageInputs([long, short]);
    const numbers = (t: { data: ArrayLike<number | bigint> }) => Array.from(t.data, Number);
    expect([n, length]).toEqual([2, 4]); // the attention's blocks are equally long
    expect(numbers(inputs.ids)).toEqual([5, 6, 7, 0, 0, 8, 0, 0]);
    expect(numbers(inputs.text)).toEqual([1, 1, 1, 0, 0, 1, 0, 0]);
    expect([...visual]).toEqual([-1, -1, -1, -1, 4, -1, -1, -1]);
    expect(numbers(inputs.chosen)).toEqual([0, 4]);
    expect(numbers(inputs.targets)).toEqual([6, 8]);
  });
});
