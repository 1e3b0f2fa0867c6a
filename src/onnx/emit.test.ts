import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TensorData } from "../core/tensor.ts";
import { evaluate, plus, symbol, times } from "../graph/dim.ts";
import * as op from "../graph/ops.ts";
import { constant, input, type Tensor, weight } from "../graph/tensor.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { emitOnnx } from "./emit.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const f32 = (shape: number[], at: (i: number) => number = (i) => Math.sin(i)): TensorData => ({
  dtype: "f32",
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => at(i)),
});

async function compute(
  outputs: Record<string, Tensor>,
  inputs: Record<string, TensorData>,
  sizes: string[] = [],
): Promise<Record<string, TensorData>> {
  const session = await runtime.load(emitOnnx({ outputs, sizes }));
  const fresh = Object.fromEntries(Object.keys(outputs).map((name) => [name, "fresh" as const]));
  const result = await session.run(inputs, fresh);
  await session.close();
  return result;
}

describe("an emitted graph", () => {
  it("has the shapes that inference promised, for every operation and symbolic sizes", async () => {
    const [n, m] = [symbol("n"), symbol("m")];
    const x = input("x", "f32", [n, times(2, m), 6]);
    const w = constant(f32([4, 6]));
    const outputs: Record<string, Tensor> = {
      add: op.add(x, constant(f32([6]))),
      matmul: op.matmul(x, op.transpose(w, [1, 0])),
      fused: op.matmulTransposed(x, w),
      reshape: op.reshape(x, [times(n, m), 12]),
      transpose: op.transpose(x, [2, 0, 1]),
      expand: op.expand(op.reshape(constant(f32([6])), [1, 1, 6]), [n, plus(m, 1), 6]),
      concat: op.concat([x, x], 1),
      split: op.split(x, [m, m], 1)[1] as Tensor,
      slice: op.slice(x, 1, m, 1),
      gather: op.gather(constant(f32([8, 6])), op.range(plus(m, 1))),
      norm: op.layerNormalization(x, constant(f32([6])), constant(f32([6])), 1e-6),
      rms: op.rmsNormalization(x, constant(f32([6])), 1e-6),
      softmax: op.softmax(x),
      gelu: op.gelu(x),
      mean: op.mean(x, [1]),
      sum: op.sum(x, [0, 2]),
      attention: op.multiHeadAttention(x, x, x, 2),
      where: op.where(op.greater(x, 0), x, op.neg(x)),
      size: op.dimValue(times(n, m), "f32"),
    };
    const result = await compute(outputs, { x: f32([3, 8, 6]) });
    for (const [name, t] of Object.entries(outputs)) {
      const promised = t.shape.map((d) => evaluate(d, { n: 3, m: 4 }));
      expect([name, result[name]?.dtype, result[name]?.shape]).toEqual([name, t.dtype, promised]);
    }
    expect([...(result.size as TensorData).data]).toEqual([12]);
  });

  it("solves a size from an axis that is a product, given the other factors", async () => {
    const [rows, k] = [symbol("rows"), symbol("k")];
    const x = input("x", "f32", [times(16, rows, k)]);
    const outputs = { rows: op.dimValue(rows, "i64"), regions: op.reshape(x, [rows, times(16, k)]) };
    const k3: TensorData = { dtype: "i64", shape: [], data: BigInt64Array.of(3n) };
    const result = await compute(outputs, { x: f32([16 * 5 * 3]), k: k3 }, ["k"]);
    expect(result.rows?.data).toEqual(BigInt64Array.of(5n));
    expect(result.regions?.shape).toEqual([5, 48]);
  });

  it("solves sizes from whichever axes tell them, in any order of inputs", async () => {
    const [r, c] = [symbol("r"), symbol("c")];
    const [x, y] = [input("x", "f32", [times(r, c)]), input("y", "f32", [r])];
    const outputs = { grid: op.reshape(x, [r, c]), more: op.add(y, 0) };
    expect((await compute(outputs, { x: f32([6]), y: f32([2]) })).grid?.shape).toEqual([2, 3]);
  });

  it("refuses two inputs of one name", () => {
    const outputs = { y: op.add(input("x", "f32", [2]), input("x", "f32", [1])) };
    expect(() => emitOnnx({ outputs, sizes: [] })).toThrow("two inputs are called x");
  });

  it("refuses a size that nothing tells", () => {
    const x = input("x", "f32", [plus(symbol("a"), symbol("b"))]);
    const outputs = {
      y: op.reshape(
        op.expand(op.reshape(x, [1, plus(symbol("a"), symbol("b"))]), [
          symbol("a"),
          plus(symbol("a"), symbol("b")),
        ]),
        [times(symbol("a"), plus(symbol("a"), symbol("b")))],
      ),
    };
    expect(() => emitOnnx({ outputs, sizes: [] })).toThrow(/no input tells the dimension "a"/);
  });

  it("reads stored weights in their own type", async () => {
    const bf16 = weight("w", { dtype: "bf16", shape: [2], bytes: new Uint8Array([0x80, 0x3f, 0x00, 0xc0]) });
    const result = await compute(
      { y: op.mul(op.cast(bf16, "f32"), input("x", "f32", [])) },
      { x: f32([], () => 3) },
    );
    expect([...(result.y as TensorData).data]).toEqual([3, -6]);
  });

  it("can hand an input through", async () => {
    const x = input("x", "f32", [2]);
    const result = await compute({ a: x, b: op.add(x, 1), c: x }, { x: f32([2], (i) => i) });
    expect([...(result.a as TensorData).data, ...(result.b as TensorData).data]).toEqual([0, 1, 1, 2]);
  });
});

describe("a mistake in a description", () => {
  const w = weight("layers.3.self_attn.q_proj.weight", {
    dtype: "f32",
    shape: [96, 96],
    bytes: new Uint8Array(),
  });
  it("is found while the graph is built, and names the parameter", () => {
    const x = input("x", "f32", [1, 8, 64]);
    expect(() => op.matmulTransposed(x, w)).toThrow(
      "Gemm(Reshape [8, 64], layers.3.self_attn.q_proj.weight [96, 96]): 64 != 96",
    );
  });

  it.each<[string, () => unknown]>([
    ["another type", () => op.add(w, input("i", "i64", [96, 96]))],
    ["shapes that do not broadcast", () => op.add(w, input("x", "f32", [95]))],
    ["another number of elements", () => op.reshape(w, [96, 95])],
    ["an axis that is not there", () => op.split(w, [48, 48], 2)],
    ["parts that do not add up", () => op.split(w, [48, 47], 0)],
    ["an order that is none", () => op.transpose(w, [0, 0])],
    [
      "two different symbols",
      () => op.add(input("a", "f32", [symbol("a")]), input("b", "f32", [symbol("b")])),
    ],
    ["a scale of another width", () => op.rmsNormalization(w, input("s", "f32", [95]), 1e-6)],
  ])("is refused: %s", (_, build) => {
    expect(build).toThrow(expect.objectContaining({ name: "OryxError" }));
  });
});
