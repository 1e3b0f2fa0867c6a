import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16, toFloat32 } from "./floats.ts";

const EVERY_WORD = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** IEEE 754 binary16 by its definition, in doubles. */
function float16ByDefinition(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >> 10) & 31;
  const fraction = word & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The nearest of all finite words (and infinity as 2^16), the even one of two: slow, but plainly right. */
function nearestFloat16(value: number): number {
  const magnitude = Math.abs(value);
  let [low, high] = [0, 0x7c00];
  const at = (word: number) => (word === 0x7c00 ? 65536 : float16ByDefinition(word));
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (at(middle) <= magnitude) low = middle;
    else high = middle;
  }
  const [below, above] = [magnitude - at(low), at(high) - magnitude];
  const word = below < above || (below === above && low % 2 === 0) ? low : high;
  return word | (Object.is(value, -0) || value < 0 ? 0x8000 : 0);
}

describe("f16", () => {
  it("reads each of the 65536 words as its definition says", () => {
    const values = fromFloat16(EVERY_WORD);
    const wrong = [...EVERY_WORD].filter((word) => !Object.is(values[word], float16ByDefinition(word)));
    expect(wrong).toEqual([]);
  });

  it("writes back each word that is a number, and NaN as NaN", () => {
    const words = toFloat16(fromFloat16(EVERY_WORD));
    const wrong = [...EVERY_WORD].filter((word) =>
      (word & 0x7fff) > 0x7c00 ? (words[word]! & 0x7fff) <= 0x7c00 : words[word] !== word,
    );
    expect(wrong).toEqual([]);
  });

  it("rounds to the nearest word, ties to even, at and beside every midpoint", () => {
    const wrong: number[] = [];
    for (let word = 0; word < 0x7c00; word++) {
      const above = word + 1 === 0x7c00 ? 65536 : float16ByDefinition(word + 1);
      const middle = (float16ByDefinition(word) + above) / 2;
      const probes = Float32Array.of(middle, nextFloat(middle, 1), nextFloat(middle, -1));
      const words = toFloat16(probes);
      probes.forEach((probe, i) => {
        if (words[i] !== nearestFloat16(probe)) wrong.push(probe);
      });
    }
    expect(wrong).toEqual([]);
  });

  it("rounds any f32 to the nearest word", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (value) => {
        const expected = Math.abs(value) >= 65520 ? (value < 0 ? 0xfc00 : 0x7c00) : nearestFloat16(value);
        expect(toFloat16(Float32Array.of(value))[0]).toBe(expected);
      }),
    );
  });
});

describe("bf16", () => {
  it("is the upper half of an f32, both ways", () => {
    const values = fromBfloat16(EVERY_WORD);
    const view = new DataView(new ArrayBuffer(4));
    const wrong = [...EVERY_WORD].filter((word) => {
      view.setUint32(0, word * 65536);
      return !Object.is(values[word], view.getFloat32(0));
    });
    expect(wrong).toEqual([]);
    const words = toBfloat16(values);
    expect([...EVERY_WORD].filter((word) => !Number.isNaN(values[word]) && words[word] !== word)).toEqual([]);
  });

  it.each([
    [1 + 2 ** -8, 0x3f80], // a tie: down to even
    [1 + 3 * 2 ** -8, 0x3f82], // a tie: up to even
    [1 + 2 ** -8 + 2 ** -20, 0x3f81],
    [3.4028234663852886e38, 0x7f80], // the largest f32 rounds to infinity
    [-0, 0x8000],
  ])("rounds %d to nearest, ties to even", (value, word) => {
    expect(toBfloat16(Float32Array.of(value))[0]).toBe(word);
  });

  it("keeps every NaN a NaN", () => {
    const bits = Uint32Array.of(0x7f800001, 0xffffffff, 0x7fffffff);
    const words = toBfloat16(new Float32Array(bits.buffer));
    expect([...fromBfloat16(words)]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
  });
});

describe("toFloat32", () => {
  it("reads every floating type at any alignment", () => {
    const shifted = (data: ArrayBufferView) => {
      const bytes = new Uint8Array(data.byteLength + 1);
      bytes.set(new Uint8Array(data.buffer), 1);
      return bytes.subarray(1);
    };
    const values = [1.5, -2, 0.25];
    expect([...toFloat32(shifted(Float32Array.from(values)), "f32")]).toEqual(values);
    expect([...toFloat32(shifted(Float64Array.from(values)), "f64")]).toEqual(values);
    expect([...toFloat32(shifted(Uint16Array.of(0x3e00, 0xc000, 0x3400)), "f16")]).toEqual(values);
    expect([...toFloat32(shifted(Uint16Array.of(0x3fc0, 0xc000, 0x3e80)), "bf16")]).toEqual(values);
  });

  it("refuses integers", () => {
    expect(() => toFloat32(new Uint8Array(8), "i64")).toThrow(OryxError);
  });
});

/** The next f32 upwards or downwards of a positive one. */
function nextFloat(value: number, step: 1 | -1): number {
  const float = Float32Array.of(value);
  new Int32Array(float.buffer)[0]! += step;
  return float[0]!;
}
