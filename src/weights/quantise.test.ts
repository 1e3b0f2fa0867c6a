import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Random } from "../core/random.ts";
import { INT4_BLOCK, quantiseInt4, quantiseInt8 } from "./quantise.ts";

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

describe("4-bit blocks", () => {
  const unpack = ({ packed, scales }: ReturnType<typeof quantiseInt4>) =>
    Float32Array.from({ length: packed.length * 2 }, (_, i) => {
      const byte = packed[i >> 1] as number;
      return ((i & 1 ? byte >> 4 : byte & 15) - 8) * (scales[Math.floor(i / INT4_BLOCK)] as number);
    });

  it("report the error that unpacking shows, near what four bits can do", () => {
    const values = normal(1, 64 * 256, 0.02);
    const quantised = quantiseInt4(values);
    const error = relative(values, unpack(quantised));
    expect(quantised.error).toBeCloseTo(error, 5);
    expect(error).toBeLessThan(0.09);
  });

  it("keep every weight within a step of itself, whatever the block's scale", () => {
    const weight = fc.float({ min: -1000, max: 1000, noNaN: true });
    fc.assert(
      fc.property(fc.array(weight, { minLength: INT4_BLOCK, maxLength: INT4_BLOCK }), (list) => {
        const values = Float32Array.from(list);
        const largest = Math.max(...list.map(Math.abs));
        unpack(quantiseInt4(values)).forEach((x, i) => {
          expect(Math.abs(x - (values[i] as number))).toBeLessThanOrEqual(largest / 4 + 1e-6);
        });
      }),
    );
  });

  it("keep zeros", () => {
    const { scales, error } = quantiseInt4(new Float32Array(64));
    expect([...scales, error]).toEqual([0, 0, 0]);
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
