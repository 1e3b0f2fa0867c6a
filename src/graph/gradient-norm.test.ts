import { afterAll, beforeAll, describe, it } from "vitest";
import { expectGradients } from "../../test/support/finite-differences.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { times } from "./dim.ts";
import * as op from "./ops.ts";
import type { Tensor } from "./tensor.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const sizes = { a: [0, 3], b: [0, 3], c: [1, 5] } as const;

describe("the gradient equals finite differences of", () => {
  const rows: Record<string, (x: Tensor) => Tensor> = {
    Softmax: op.softmax,
    LogSoftmax: op.logSoftmax,
    Gelu: op.gelu,
    "ReduceSum of the last axis": (x) => op.sum(x, [-1]),
    "ReduceSum of leading axes": (x) => op.sum(x, [0, 1]),
    "ReduceMean of the last axis": (x) => op.mean(x, [-1]),
    "ReduceMean of leading axes": (x) => op.mean(op.concat([x, x], 0), [0]),
    "ReduceMax of the last axis": (x) => op.max(x, [-1]),
  };
  for (const [name, f] of Object.entries(rows)) {
    it(name, () =>
      expectGradients(runtime, sizes, () => ({
        shapes: (dim) => ({ x: [dim("a"), dim("b"), dim("c")] }),
        f: ({ x }) => f(x as Tensor),
      })),
    );
  }

  it("LayerNormalization", () =>
    expectGradients(runtime, { a: [0, 3], b: [0, 3], c: [2, 6] }, () => ({
      shapes: (dim) => ({ x: [dim("a"), dim("b"), dim("c")], scale: [dim("c")], bias: [dim("c")] }),
      f: (t) => op.layerNormalization(t.x as Tensor, t.scale as Tensor, t.bias as Tensor, 1e-2),
    })));

  it("SimplifiedLayerNormalization", () =>
    expectGradients(runtime, sizes, () => ({
      shapes: (dim) => ({ x: [dim("a"), dim("b"), dim("c")], scale: [dim("c")] }),
      f: (t) => op.rmsNormalization(t.x as Tensor, t.scale as Tensor, 1e-2),
    })));

  it("MultiHeadAttention", () =>
    expectGradients(runtime, { n: [0, 2], heads: [1, 3], q: [1, 4], kv: [1, 4] }, (random) => {
      const [heads, d] = [1 + (random.bits() % 3), 1 + (random.bits() % 3)];
      return {
        shapes: (dim) => ({
          q: [dim("n"), dim("q"), heads * d],
          k: [dim("n"), dim("kv"), heads * d],
          v: [dim("n"), dim("kv"), heads * d],
        }),
        f: ({ q, k, v }) => op.multiHeadAttention(q as Tensor, k as Tensor, v as Tensor, heads),
      };
    }));

  it("RotaryEmbedding", () =>
    expectGradients(runtime, { n: [0, 2], heads: [1, 2], length: [0, 3], half: [1, 3] }, (random) => {
      const half = 1 + (random.bits() % 3);
      return {
        shapes: (dim) => ({
          x: [dim("n"), dim("heads"), dim("length"), 2 * half],
          cos: [dim("length"), half],
          sin: [dim("length"), half],
        }),
        f: ({ x, cos, sin }) => op.rotaryEmbedding(x as Tensor, cos as Tensor, sin as Tensor),
      };
    }));

  it("gelu of a product, normalised: rules together", () =>
    expectGradients(runtime, { n: [1, 2], l: [1, 3] }, () => ({
      shapes: (dim) => ({ x: [dim("n"), dim("l"), 4], w: [6, 4], scale: [6], bias: [6] }),
      f: ({ x, w, scale, bias }) => {
        const y = op.gelu(op.matmulTransposed(x as Tensor, w as Tensor));
        const unit = op.layerNormalization(y, scale as Tensor, bias as Tensor, 1e-2);
        return op.reshape(unit, [times(unit.dim(0), unit.dim(1)), 6]);
      },
      from: [-0.8, 0.8],
    })));
});
