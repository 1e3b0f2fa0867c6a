import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quantiseInt4, quantiseInt8 } from "../../test/support/quantise.ts";
import { Random } from "../core/random.ts";
import type { TensorData } from "../core/tensor.ts";
import { symbol } from "../graph/dim.ts";
import { constant, input, type Tensor } from "../graph/tensor.ts";
import { emitOnnx } from "../onnx/emit.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { embedding, linear } from "./layers.ts";
import { type Matrix, Params } from "./params.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const [OUT, IN] = [48, 96];
const random = new Random(3);
const f32 = (shape: number[]): TensorData & { dtype: "f32" } => ({
  dtype: "f32",
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * random.next() - 1),
});
const weights = f32([OUT, IN]);

function matrices(): Record<Matrix["storage"], Matrix> {
  const four = quantiseInt4(weights.data);
  const eight = quantiseInt8(weights.data, OUT);
  return {
    dense: { storage: "dense", values: constant(weights) },
    int4: {
      storage: "int4",
      packed: constant({ dtype: "u8", shape: [OUT, IN / 32, 16], data: four.packed }),
      scales: constant({ dtype: "f32", shape: [OUT, IN / 32], data: four.scales }),
    },
    int8: {
      storage: "int8",
      values: constant({ dtype: "i8", shape: [IN, OUT], data: eight.values }),
      scales: constant({ dtype: "f32", shape: [OUT], data: eight.scales }),
    },
    lora: corrected(),
  };
}

/** A base from which the correction, 0.5 * up x down, leads back to the weights. */
function corrected(): Matrix {
  const [rank, scale] = [3, 0.5];
  const [down, up] = [f32([rank, IN]), f32([OUT, rank])];
  const data = weights.data.map((w, i) => {
    const [o, c] = [Math.floor(i / IN), i % IN];
    let correction = 0;
    for (let r = 0; r < rank; r++)
      correction += (up.data[o * rank + r] as number) * (down.data[r * IN + c] as number);
    return w - scale * correction;
  });
  const base: Matrix = { storage: "dense", values: constant({ ...weights, data }) };
  return { storage: "lora", base, down: constant(down), up: constant(up), scale };
}

async function run(y: Tensor, inputs: Record<string, TensorData>): Promise<TensorData> {
  const session = await runtime.load(emitOnnx({ outputs: { y }, sizes: [] }));
  const result = await session.run(inputs, { y: "fresh" });
  await session.close();
  return result.y as TensorData;
}

const relative = (a: TensorData, b: number[]): number => {
  let [lost, all] = [0, 0];
  b.forEach((x, i) => {
    lost += (x - Number(a.data[i])) ** 2;
    all += x * x;
  });
  return Math.sqrt(lost / all);
};

describe.each([
  ["dense", 1e-6],
  ["int8", 0.01],
  ["int4", 0.1],
  ["lora", 1e-6],
] as const)("a matrix stored as %s", (storage, tolerance) => {
  const p = () => new Params((name) => (name === "weight" ? matrices()[storage] : undefined));
  const x = input("x", "f32", [symbol("rows"), IN]);

  it.each([1, 7, 40])(
    "multiplies %i rows, one of them far larger than the rest, as well as its bits allow",
    async (rows) => {
      const data = f32([rows, IN]);
      data.data.subarray(0, IN).forEach((v, i, row) => {
        row[i] = 1000 * v;
      });
      const y = await run(linear(p(), x), { x: data });
      for (let r = 0; r < rows; r++) {
        const expected = Array.from({ length: OUT }, (_, o) => {
          let sum = 0;
          for (let i = 0; i < IN; i++)
            sum += (data.data[r * IN + i] as number) * (weights.data[o * IN + i] as number);
          return sum;
        });
        const row = { ...y, data: y.data.slice(r * OUT, (r + 1) * OUT) } as TensorData;
        expect(relative(row, expected)).toBeLessThan(tolerance);
      }
    },
  );

  it("multiplies no rows, and rows of zeros", async () => {
    expect((await run(linear(p(), x), { x: f32([0, IN]) })).shape).toEqual([0, OUT]);
    const zeros: TensorData = { dtype: "f32", shape: [2, IN], data: new Float32Array(2 * IN) };
    const { data } = await run(linear(p(), x), { x: zeros });
    expect(Array.from(data, Number).every((v) => v === 0)).toBe(true);
  });

  it.skipIf(storage === "int8" || storage === "lora")("gives its rows", async () => {
    const ids: TensorData = { dtype: "i64", shape: [3], data: BigInt64Array.of(5n, 0n, 47n) };
    const y = await run(embedding(p(), input("ids", "i64", [symbol("n")])), { ids });
    const expected = [5, 0, 47].flatMap((r) => [...weights.data.subarray(r * IN, (r + 1) * IN)]);
    expect(y.shape).toEqual([3, IN]);
    expect(relative(y, expected)).toBeLessThan(tolerance);
  });
});

describe.each([64, 128] as const)("an int4 matrix in blocks of %i", (block) => {
  const [rows, columns] = [24, 384];
  const values = f32([rows, columns]);
  const { packed, scales } = quantiseInt4(values.data, block);
  const blocks = columns / block;
  const matrix: Matrix = {
    storage: "int4",
    packed: constant({ dtype: "u8", shape: [rows, blocks, block / 2], data: packed }),
    scales: constant({ dtype: "f32", shape: [rows, blocks], data: scales }),
  };
  const p = new Params((name) => (name === "weight" ? matrix : undefined));
  // Each with the scale of its own block: a kernel that took other blocks would be off by far more than a rounding.
  const unpacked = Array.from(values.data, (_, i) => {
    const byte = packed[i >> 1] as number;
    return ((i & 1 ? byte >> 4 : byte & 15) - 8) * (scales[Math.floor(i / block)] as number);
  });

  it("gives the rows that its integers stand for", async () => {
    const ids: TensorData = { dtype: "i64", shape: [2], data: BigInt64Array.of(23n, 4n) };
    const y = await run(embedding(p, input("ids", "i64", [symbol("n")])), { ids });
    const expected = [23, 4].flatMap((r) => unpacked.slice(r * columns, (r + 1) * columns));
    expect(relative(y, expected)).toBeLessThan(1e-6);
  });

  it.each([1, 9])("multiplies %i rows as its integers would", async (count) => {
    const x = f32([count, columns]);
    const y = await run(linear(p, input("x", "f32", [symbol("rows"), columns])), { x });
    const expected = Array.from({ length: count * rows }, (_, at) => {
      const [i, o] = [Math.floor(at / rows), at % rows];
      let sum = 0;
      for (let c = 0; c < columns; c++)
        sum += (x.data[i * columns + c] as number) * (unpacked[o * columns + c] as number);
      return sum;
    });
    expect(relative(y, expected)).toBeLessThan(0.02);
  });
});
