import { afterAll, beforeAll, describe, it } from "vitest";
import { expectGradients } from "../../test/support/finite-differences.ts";
import type { Random } from "../core/random.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import type { Dim, Shape } from "./dim.ts";
import * as op from "./ops.ts";
import type { Tensor } from "./tensor.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const sizes = { a: [0, 4], b: [0, 3], c: [1, 4] } as const;

/** Sometimes without leading axes, each remaining axis sometimes 1. */
function stretchable(random: Random, shape: Shape): Shape {
  const kept = shape.slice(Math.floor(random.next() * (shape.length + 1)));
  return kept.map((d): Dim => (random.next() < 0.4 ? 1 : d));
}

describe("the gradient equals finite differences, whatever is broadcast, of", () => {
  const binary: Record<string, (a: Tensor, b: Tensor) => Tensor> = {
    Add: op.add,
    Sub: op.sub,
    Mul: op.mul,
    Div: op.div,
    "Add of a tensor to itself": (a, b) => op.add(op.add(a, b), a),
  };
  for (const [name, f] of Object.entries(binary)) {
    it(name, () =>
      expectGradients(runtime, sizes, (random) => ({
        shapes: (dim) => {
          const full = [dim("a"), dim("b"), dim("c")];
          return { x: stretchable(random, full), y: stretchable(random, full) };
        },
        f: ({ x, y }) => f(x as Tensor, y as Tensor),
        from: [0.5, 2],
      })),
    );
  }

  const unary: Record<string, { f: (x: Tensor) => Tensor; from?: [number, number] }> = {
    Neg: { f: op.neg },
    Abs: { f: op.abs },
    Relu: { f: op.relu },
    Sigmoid: { f: op.sigmoid },
    Exp: { f: op.exp },
    Log: { f: op.log, from: [0.2, 2] },
    Sqrt: { f: op.sqrt, from: [0.2, 2] },
    Erf: { f: op.erf },
    Cos: { f: op.cos },
    Sin: { f: op.sin },
    "Cast (there and back)": { f: (x) => op.mul(op.cast(x, "f64"), op.cast(x, "f64")) },
  };
  for (const [name, { f, from }] of Object.entries(unary)) {
    it(name, () =>
      expectGradients(runtime, sizes, () => ({
        shapes: (dim) => ({ x: [dim("a"), dim("b"), dim("c")] }),
        f: ({ x }) => f(x as Tensor),
        ...(from && { from }),
      })),
    );
  }

  it("Where", () =>
    expectGradients(runtime, sizes, (random) => ({
      shapes: (dim) => {
        const full = [dim("a"), dim("b"), dim("c")];
        return { x: stretchable(random, full), y: stretchable(random, full), t: stretchable(random, full) };
      },
      f: ({ x, y, t }) => op.where(op.greater(t as Tensor, 0), x as Tensor, y as Tensor),
    })));
});
