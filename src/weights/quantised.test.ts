import { describe, expect, it } from "vitest";
import type { DType } from "../core/dtype.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { asMatrices, partOf, partsOf } from "./quantised.ts";

const tensor = (dtype: DType, ...shape: number[]): StoredTensor => ({
  dtype,
  shape,
  bytes: new Uint8Array(0),
});
const INT4 = { "x.weight.int4": tensor("u8", 6, 3, 16), "x.weight.int4_scales": tensor("f32", 6, 3) };
const INT8 = { "x.weight.int8": tensor("i8", 96, 6), "x.weight.int8_scales": tensor("f32", 6) };

const matrices = (tensors: Record<string, StoredTensor>) =>
  asMatrices(new Map(Object.entries(tensors)), "folder");

describe("parts of a quantised matrix", () => {
  it("are told by their names", () => {
    expect(partOf("x.weight.int4")).toEqual({ matrix: "x.weight", storage: "int4", isScales: false });
    expect(partOf("x.weight.int8_scales")).toEqual({ matrix: "x.weight", storage: "int8", isScales: true });
    for (const name of ["x.weight", "x.int3", "x.int4.weight", "int4"]) expect(partOf(name)).toBeUndefined();
  });

  it("are one matrix [out, in], in either type or both, whatever the size of the blocks", () => {
    const wide = { "x.weight.int4": tensor("u8", 6, 3, 32), "x.weight.int4_scales": tensor("f32", 6, 3) };
    const wider = { "x.weight.int4": tensor("u8", 6, 3, 64), "x.weight.int4_scales": tensor("f32", 6, 3) };
    expect(matrices(wide).get("x.weight")?.shape).toEqual([6, 192]);
    expect(matrices(wider).get("x.weight")?.shape).toEqual([6, 384]);
    for (const parts of [INT4, INT8, { ...INT4, ...INT8 }]) {
      const found = matrices({ "x.bias": tensor("bf16", 6), ...parts });
      expect([...found].map(([name, { shape }]) => [name, shape])).toEqual([
        ["x.bias", [6]],
        ["x.weight", [6, 96]],
      ]);
      const all = new Map(Object.entries({ ...parts, other: tensor("f32", 1) }));
      expect([...partsOf(new Map([["x.weight", 0]]), all).keys()]).toEqual(Object.keys(parts));
    }
  });

  const unfit: [string, Record<string, StoredTensor>, RegExp][] = [
    ["integers without scales", { "x.weight.int4": INT4["x.weight.int4"] }, /"x\.weight\.int4" stands alone/],
    ["scales without integers", { "x.weight.int8_scales": INT8["x.weight.int8_scales"] }, /stands alone/],
    [
      "scales of another count",
      { ...INT4, "x.weight.int4_scales": tensor("f32", 6, 2) },
      /int4 parts .* do not fit/,
    ],
    ["blocks of another size", { ...INT4, "x.weight.int4": tensor("u8", 6, 3, 8) }, /do not fit/],
    ["blocks larger than any", { ...INT4, "x.weight.int4": tensor("u8", 6, 3, 128) }, /do not fit/],
    [
      "blocks of two sizes",
      { ...INT4, ...INT8, "x.weight.int4": tensor("u8", 6, 3, 32) },
      /"x\.weight" is there twice/,
    ],
    ["blocks of no size", { ...INT4, "x.weight.int4": tensor("u8", 6, 3, 0) }, /do not fit/],
    ["four dimensions", { ...INT4, "x.weight.int4": tensor("u8", 6, 3, 16, 1) }, /do not fit/],
    ["another type", { ...INT8, "x.weight.int8": tensor("u8", 96, 6) }, /int8 parts .* do not fit/],
    ["scales of another type", { ...INT8, "x.weight.int8_scales": tensor("f16", 6) }, /do not fit/],
    ["no shape", { ...INT8, "x.weight.int8": tensor("i8") }, /do not fit/],
    [
      "two matrices",
      { ...INT4, "x.weight.int8": tensor("i8", 64, 6), "x.weight.int8_scales": tensor("f32", 6) },
      /twice/,
    ],
    ["integers of what is there dense", { ...INT4, "x.weight": tensor("f32", 6, 96) }, /twice/],
  ];
  it.each(unfit)("with %s are refused", (_, tensors, told) => {
    expect(() => matrices(tensors)).toThrow(told);
    expect(() => matrices(Object.fromEntries(Object.entries(tensors).reverse()))).toThrow(told);
  });
});
