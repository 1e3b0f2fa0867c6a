import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DECOMPOSITIONS, decompose } from "../../test/support/decompose.ts";
import { Random } from "../core/random.ts";
import type { TensorData } from "../core/tensor.ts";
import { emitOnnx } from "../onnx/emit.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { type Shape, symbol } from "./dim.ts";
import { gradients } from "./gradient.ts";
import * as op from "./ops.ts";
import { inOrder } from "./order.ts";
import { input, type Tensor } from "./tensor.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const [n, length] = [symbol("n"), symbol("length")];
const row = { x: [n, length, 8], scale: [8], bias: [8] };
const qkv = { q: [n, length, 12], k: [n, length, 12], v: [n, length, 12] };
const turned = { x: [n, 2, length, 8], cos: [length, 4], sin: [length, 4] };
type Inputs = Record<string, Tensor>;

/** Each compound operation with the inputs that it takes. */
const COMPOUNDS: Record<keyof typeof DECOMPOSITIONS, [Record<string, Shape>, (t: Inputs) => Tensor]> = {
  LayerNormalization: [
    row,
    (t) => op.layerNormalization(t.x as Tensor, t.scale as Tensor, t.bias as Tensor, 1e-5),
  ],
  SimplifiedLayerNormalization: [row, (t) => op.rmsNormalization(t.x as Tensor, t.scale as Tensor, 1e-5)],
  Softmax: [row, (t) => op.softmax(t.x as Tensor)],
  LogSoftmax: [row, (t) => op.logSoftmax(t.x as Tensor)],
  Gelu: [row, (t) => op.gelu(t.x as Tensor)],
  MultiHeadAttention: [qkv, (t) => op.multiHeadAttention(t.q as Tensor, t.k as Tensor, t.v as Tensor, 3)],
  RotaryEmbedding: [turned, (t) => op.rotaryEmbedding(t.x as Tensor, t.cos as Tensor, t.sin as Tensor)],
};

describe("a compound operation's kernel computes what its definition says, and so does its gradient:", () => {
  for (const [name, [shapes, f]] of Object.entries(COMPOUNDS)) {
    it(name, async () => {
      const inputs = Object.fromEntries(
        Object.entries(shapes).map(([k, shape]) => [k, input(k, "f32", shape)]),
      );
      const y = f(inputs);
      const upstream = input("upstream", "f32", y.shape);
      const kernels = [y, ...gradients([{ of: y, upstream }], Object.values(inputs))];
      const [defined] = decompose([y]) as [Tensor];
      expect(inOrder([defined]).map((a) => a.op.name)).not.toContain(name);
      const definitions = [defined, ...gradients([{ of: defined, upstream }], Object.values(inputs))];
      const outputs = [...kernels, ...definitions];
      const named = Object.fromEntries(outputs.map((t, i) => [`o${i}`, t]));
      const session = await runtime.load(emitOnnx({ outputs: named, sizes: [] }));
      const fresh = Object.fromEntries(Object.keys(named).map((k) => [k, "fresh" as const]));
      const size = fc.integer({ min: 1, max: 9 });
      await fc.assert(
        fc.asyncProperty(size, size, fc.nat(), async (batch, rows, seed) => {
          const random = new Random(seed);
          const draw = (shape: Shape): TensorData => {
            const known = shape.map((d) => (d === n ? batch : d === length ? rows : (d as number)));
            const data = Float32Array.from(
              { length: known.reduce((a, b) => a * b, 1) },
              () => 6 * random.next() - 3,
            );
            return { dtype: "f32", shape: known, data };
          };
          const all = [...Object.values(inputs), upstream].map((t) => [
            (t.source as { name: string }).name,
            draw(t.shape),
          ]);
          const taken = all.filter(([k]) => session.inputNames.includes(k as string));
          const result = await session.run(Object.fromEntries(taken), fresh);
          kernels.forEach((_, i) => {
            const [a, b] = [result[`o${i}`], result[`o${i + kernels.length}`]] as [TensorData, TensorData];
            expect(a.shape).toEqual(b.shape);
            const worst = [...a.data].reduce<number>(
              (w, e, j) => Math.max(w, Math.abs(Number(e) - Number(b.data[j])) / (1 + Math.abs(Number(e)))),
              0,
            );
            expect(worst).toBeLessThan(2e-4);
          });
        }),
        { numRuns: 20 },
      );
      await session.close();
    });
  }

  it("Gelu and x sigmoid(x) have slopes 0 and 1 far out, and no infinity in between", async () => {
    const x = input("x", "f32", [6]);
    const upstream = op.expand(op.scalar(1, "f32"), [6]);
    const [gelu, silu] = [op.gelu(x), op.mul(x, op.sigmoid(x))].map(
      (y) => gradients([{ of: y, upstream }], [x])[0],
    ) as [Tensor, Tensor];
    const session = await runtime.load(emitOnnx({ outputs: { gelu, silu }, sizes: [] }));
    const data = Float32Array.of(-1e30, -200, -15, 15, 200, 1e30);
    const result = await session.run(
      { x: { dtype: "f32", shape: [6], data } },
      { gelu: "fresh", silu: "fresh" },
    );
    for (const { data: slopes } of Object.values(result)) {
      [0, 0, 0, 1, 1, 1].forEach((slope, i) => {
        expect(Number(slopes[i])).toBeCloseTo(slope, 4);
      });
    }
    await session.close();
  });
});
