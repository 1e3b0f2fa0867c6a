import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { quantiseInt4, quantiseInt8 } from "../../test/support/quantise.ts";
import { Random } from "../core/random.ts";
import { INT4_BLOCKS, type Int4Block } from "./quantise.ts";

function normal(seed: number, count: number, scale: number): Float32Array {
  const random = new Random(seed);
  const gauss = () => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  return Float32Array.from({ length: count }, () => scale * gauss());
}

const relative = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let [lost, all] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    lost += ((a[i] as number) - (b[i] as number)) ** 2;
    all += (a[i] as number) ** 2;
  }
  return Math.sqrt(lost / all);
};

function unpack({ packed, scales }: ReturnType<typeof quantiseInt4>, block: Int4Block): Float32Array {
  return Float32Array.from({ length: packed.length * 2 }, (_, i) => {
    const byte = packed[i >> 1] as number;
    return ((i & 1 ? byte >> 4 : byte & 15) - 8) * (scales[Math.floor(i / block)] as number);
  });
}

/** What becomes of weights when the farthest from zero is -8 and the scale is the one that fits all best. */
function plainly(values: Float32Array, block: Int4Block): Float32Array {
  const out = new Float32Array(values.length);
  for (let start = 0; start < values.length; start += block) {
    const weights = [...values.subarray(start, start + block)];
    const [low, high] = [Math.min(...weights), Math.max(...weights)];
    const extreme = high > -low ? high : low;
    if (extreme === 0) continue;
    const steps = weights.map((x) => Math.min(7, Math.round(x * (-8 / extreme))));
    const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
    const scale = dot(weights, steps) / dot(steps, steps);
    out.set(
      steps.map((q) => q * scale),
      start,
    );
  }
  return out;
}

const lostOf = (a: Float32Array, b: Float32Array): number =>
  a.reduce((sum, x, i) => sum + (x - (b[i] as number)) ** 2, 0);

describe.each(INT4_BLOCKS)("4-bit blocks of %i", (block) => {
  const weight = fc.float({ min: -1000, max: 1000, noNaN: true });
  const oneBlock = fc
    .array(weight, { minLength: block, maxLength: block })
    .map((list) => Float32Array.from(list));

  it("report the error that unpacking shows, near what four bits can do", () => {
    const values = normal(1, 64 * 256, 0.02);
    const quantised = quantiseInt4(values, block);
    const error = relative(values, unpack(quantised, block));
    expect(quantised.error).toBeCloseTo(error, 5);
    expect(error).toBeLessThan({ 32: 0.09, 64: 0.095, 128: 0.1 }[block]);
  });

  it("lose no more than if the weight farthest from zero became -8 and the rest followed", () => {
    fc.assert(
      fc.property(oneBlock, (values) => {
        const lost = lostOf(values, unpack(quantiseInt4(values, block), block));
        const plain = lostOf(values, plainly(values, block));
        expect(lost).toBeLessThanOrEqual(plain * (1 + 1e-5) + 1e-5);
      }),
    );
  });

  it("keep every weight within two steps of itself, whatever the block's scale", () => {
    fc.assert(
      fc.property(oneBlock, (values) => {
        const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        unpack(quantiseInt4(values, block), block).forEach((x, i) => {
          expect(Math.abs(x - (values[i] as number))).toBeLessThanOrEqual(largest / 4 + 1e-6);
        });
      }),
    );
  });

  it("keep zeros", () => {
    const { scales, error } = quantiseInt4(new Float32Array(2 * block), block);
    expect([...scales, error]).toEqual([0, 0, 0]);
  });
});

describe("4-bit blocks of all sizes", () => {
  it("lose more, the larger they are", () => {
    const values = normal(4, 2 ** 16, 0.02);
    const [a, b, c] = INT4_BLOCKS.map((block) => quantiseInt4(values, block).error) as [
      number,
      number,
      number,
    ];
    expect(a).toBeLessThan(b);
    expect(b).toBeLessThan(c);
  });

  it("of more than 32 cut off what lies far out, which saves the more, the larger they are", () => {
    const values = normal(5, 2 ** 16, 0.02);
    const gain = (block: Int4Block) =>
      lostOf(values, unpack(quantiseInt4(values, block), block)) / lostOf(values, plainly(values, block));
    expect(gain(32)).toBeCloseTo(1, 5);
    expect(gain(64)).toBeLessThan(0.95);
    expect(gain(128)).toBeLessThan(0.92);
  });
});

describe("8 bits an output", () => {
  it("report the error that multiplying out shows, transposed, near what eight bits can do", () => {
    const [rows, columns] = [24, 96];
    const values = normal(2, rows * columns, 0.02);
    const { values: q, scales, error } = quantiseInt8(values, rows);
    const back = Float32Array.from(values, (_, i) => {
      const [r, c] = [Math.floor(i / columns), i % columns];
      return (q[c * rows + r] as number) * (scales[r] as number);
    });
    expect(relative(values, back)).toBeCloseTo(error, 6);
    expect(error).toBeLessThan(0.01);
  });
});
