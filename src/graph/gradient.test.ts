import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Random } from "../core/random.ts";
import type { TensorData } from "../core/tensor.ts";
import { emitOnnx } from "../onnx/emit.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { symbol } from "./dim.ts";
import { GRADIENTS, gradients } from "./gradient.ts";
import type { Rule } from "./gradients/rule.ts";
import { apply } from "./infer.ts";
import * as op from "./ops.ts";
import { inOrder } from "./order.ts";
import { input, label, type Tensor } from "./tensor.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 2 });
});
afterAll(() => runtime.close());

const f32 = (shape: number[], random: Random): TensorData => ({
  dtype: "f32",
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.next() - 0.5),
});

async function compute(
  outputs: Record<string, Tensor>,
  inputs: Record<string, TensorData>,
): Promise<Record<string, TensorData>> {
  const session = await runtime.load(emitOnnx({ outputs, sizes: [] }));
  const fresh = Object.fromEntries(Object.keys(outputs).map((name) => [name, "fresh" as const]));
  const taken = Object.entries(inputs).filter(([name]) => session.inputNames.includes(name));
  const result = await session.run(Object.fromEntries(taken), fresh);
  await session.close();
  return result;
}

const one = op.reshape(op.scalar(1, "f32"), [1]);
const numbers = (t: TensorData | undefined) => [...(t?.data ?? [])].map(Number);
const vector = (...data: number[]): TensorData => ({
  dtype: "f32",
  shape: [data.length],
  data: Float32Array.from(data),
});

describe("gradients", () => {
  const [x, y] = [input("x", "f32", [1]), input("y", "f32", [1])];
  const at = { x: vector(3), y: vector(5) };

  it("add up over all the ways from a tensor to the seeds, and over the seeds", async () => {
    const product = op.mul(x, y);
    const a = op.add(product, op.mul(x, x)); // xy + x^2
    const seeds = [
      { of: a, upstream: one },
      { of: product, upstream: op.add(one, one) }, // + 2xy
    ];
    const [dx, dy] = gradients(seeds, [x, y]) as [Tensor, Tensor];
    const result = await compute({ dx, dy }, at);
    expect(numbers(result.dx)).toEqual([3 * 5 + 2 * 3]);
    expect(numbers(result.dy)).toEqual([3 * 3]);
  });

  it("reach tensors inside the graph, one part of a split too, and what lies beneath them", async () => {
    const squares = op.mul(op.concat([x, y], 0), op.concat([x, y], 0));
    const [first, second] = op.split(squares, [1, 1], 0) as [Tensor, Tensor];
    const loss = op.mul(first, op.mul(second, second)); // x^2 y^4
    const [dFirst, dSquares, dx] = gradients([{ of: loss, upstream: one }], [first, squares, x]) as Tensor[];
    const result = await compute(
      { dFirst: dFirst as Tensor, dSquares: dSquares as Tensor, dx: dx as Tensor },
      at,
    );
    expect(numbers(result.dFirst)).toEqual([5 ** 4]);
    expect(numbers(result.dSquares)).toEqual([5 ** 4, 2 * 3 ** 2 * 5 ** 2]);
    expect(numbers(result.dx)).toEqual([2 * 3 * 5 ** 4]);
  });

  it("are zeros where no seed depends on a tensor, and the upstream at a seed itself", async () => {
    const n = symbol("n");
    const [a, b] = [input("a", "f32", [n, 2]), input("b", "f32", [n, 3])];
    const [da, db] = gradients([{ of: a, upstream: a }], [a, b]) as [Tensor, Tensor];
    expect(da).toBe(a);
    const result = await compute({ db, same: b }, { b: f32([4, 3], new Random(1)) });
    expect(result.db).toEqual({ dtype: "f32", shape: [4, 3], data: new Float32Array(12) });
  });

  it("visit nothing beside the ways from the tensors asked for to the seeds", () => {
    const rounded = op.cast(op.cast(y, "i64"), "f32"); // has no gradient, and needs none
    const [dx] = gradients([{ of: op.mul(op.sin(x), rounded), upstream: one }], [x]) as [Tensor];
    const names = inOrder([dx]).map((a) => a.op.name);
    expect(names.sort()).toEqual(["Cast", "Cast", "Cos", "Mul", "Mul", "Reshape"]);
  });

  it("do not pass integers and comparisons: whoever asks is told so while the graph is built", () => {
    for (const steps of [op.greater(x, 0), op.cast(x, "i64")]) {
      const ask = () => gradients([{ of: op.cast(steps, "f32"), upstream: one }], [x]);
      expect(ask).toThrow(expect.objectContaining({ code: "gradient_missing" }));
      expect(ask).toThrow(/^Cast\((Greater|Cast) \[1\]\) has no gradient$/);
    }
  });

  it("4-bit weights have none, named with the operation's operands", () => {
    const packed = input("layers.0.q_proj", "u8", [4, 1, 16]);
    const rows = input("rows", "f32", [2, 32]);
    const z = op.matmulInt4(rows, packed, input("scales", "f32", [4, 1]));
    expect(() => gradients([{ of: z, upstream: z }], [rows])).toThrow(
      /^MatMulNBits\(rows \[2, 32\], layers\.0\.q_proj .*has no gradient$/,
    );
  });

  it("fit their tensors: an upstream of another shape or type is refused, and integers have no gradient", () => {
    const ids = input("ids", "i64", [1]);
    const [wide, double] = [input("wide", "f32", [2]), input("double", "f64", [1])];
    const of = (upstream: Tensor) => () => gradients([{ of: x, upstream }], [x]);
    expect(of(wide)).toThrow(expect.objectContaining({ code: "graph_shape" }));
    expect(of(double)).toThrow(expect.objectContaining({ code: "graph_shape" }));
    expect(() => gradients([{ of: x, upstream: one }], [ids])).toThrow(
      expect.objectContaining({ code: "graph_dtype" }),
    );
  });

  it("go through a chain of 20,000 additions", async () => {
    let sum: Tensor = x;
    for (let i = 0; i < 20_000; i++) sum = op.add(sum, y);
    const [dx, dy] = gradients([{ of: sum, upstream: x }], [x, y]) as [Tensor, Tensor];
    expect(dx).toBe(x);
    const adds = inOrder([dy]);
    expect(adds.length).toBe(19_999);
    expect(label(dy)).toBe("Add [1]");
    expect(emitOnnx({ outputs: { dy }, sizes: [] }).onnx.length).toBeGreaterThan(20_000);
  });

  it("need a rule for every operation, or the table does not compile", () => {
    const { Add, ...others } = GRADIENTS;
    // @ts-expect-error: there is no rule for Add
    const table: Record<op.OpName, Rule> = others;
    expect({ ...table, Add }).toEqual(GRADIENTS);
    expect(Object.keys(GRADIENTS).sort()).toEqual(Object.keys(op.OPS).sort());
  });
});

describe("an operation with more than is described of it is refused, not differentiated without it:", () => {
  const [x, mask] = [input("x", "f32", [2, 3, 4]), input("mask", "f32", [2, 3, 4])];
  const { MultiHeadAttention, ReduceSum, ScatterElements, Softmax, Gemm } = op.OPS;
  const places = input("places", "i64", [2, 3, 4]);
  const matrix = input("matrix", "f32", [3, 3]);
  it.each<[string, () => Tensor]>([
    ["a mask", () => apply(MultiHeadAttention, [x, x, x, mask], { num_heads: { int: 2 } })],
    ["a scale", () => apply(MultiHeadAttention, [x, x, x], { num_heads: { int: 2 }, scale: { float: 2 } })],
    ["another axis", () => apply(Softmax, [x], { axis: { int: 1 } })],
    ["axes that vanish", () => apply(ReduceSum, [x, { dims: [0] }], { keepdims: { int: 0 } })],
    ["axes that are not named", () => op.sum(x, [])],
    ["places that are overwritten", () => apply(ScatterElements, [x, places, x], { axis: { int: 0 } })],
    [
      "something that is added",
      () => apply(Gemm, [matrix, matrix, matrix], { transA: { int: 0 }, transB: { int: 0 } }),
    ],
  ])("%s", (_, build) => {
    expect(build).toThrow(expect.objectContaining({ code: "graph_shape" }));
  });
});
