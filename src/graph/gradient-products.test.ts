import { afterAll, beforeAll, describe, it } from "vitest";
import { expectGradients } from "../../test/support/finite-differences.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import type { Dim } from "./dim.ts";
import * as op from "./ops.ts";
import type { Tensor } from "./tensor.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const sizes = { n: [0, 2], h: [1, 3], l: [0, 4], m: [1, 4], k: [1, 4] } as const;
/** ONNX Runtime's products of batches want at least one row in each of at least one batch. */
const batches = { ...sizes, n: [1, 2], l: [1, 4] } as const;
type Dims = (name: string) => Dim;
type Two = (a: Tensor, b: Tensor) => Tensor;

function product(
  name: string,
  a: (dim: Dims) => Dim[],
  b: (dim: Dims) => Dim[],
  f: Two,
  range: Record<string, readonly [number, number]> = sizes,
): void {
  it(name, () =>
    expectGradients(runtime, range, () => ({
      shapes: (dim) => ({ a: a(dim), b: b(dim) }),
      f: (x) => f(x.a as Tensor, x.b as Tensor),
    })),
  );
}

describe("the gradient equals finite differences of", () => {
  for (const transA of [0, 1] as const) {
    for (const transB of [0, 1] as const) {
      const turned = (shape: Dim[], turn: 0 | 1) => (turn ? shape.toReversed() : shape);
      product(
        `Gemm, transA ${transA}, transB ${transB}`,
        (dim) => turned([dim("m"), dim("k")], transA),
        (dim) => turned([dim("k"), dim("h")], transB),
        (a, b) => op.gemm(a, b, transA, transB),
      );
    }
  }
  const x = (dim: Dims) => [dim("n"), dim("l"), dim("k")];
  product("MatMul of rows with a matrix", x, (dim) => [dim("k"), dim("m")], op.matmul);
  product("rows with a transposed matrix", x, (dim) => [dim("m"), dim("k")], op.matmulTransposed);
  product(
    "MatMul of batches",
    (dim) => [dim("n"), dim("h"), dim("l"), dim("k")],
    (dim) => [dim("n"), dim("h"), dim("k"), dim("m")],
    op.matmul,
    batches,
  );
  product(
    "batches with transposed batches",
    (dim) => [dim("n"), dim("h"), dim("l"), dim("k")],
    (dim) => [dim("n"), dim("h"), dim("m"), dim("k")],
    op.matmulTransposed,
    batches,
  );
  product(
    "MatMul of one matrix with batches",
    (dim) => [dim("l"), dim("k")],
    (dim) => [dim("n"), dim("k"), dim("m")],
    op.matmul,
    batches,
  );
  product(
    "MatMul of batches that stretch",
    (dim) => [dim("n"), 1, dim("m"), dim("k")],
    (dim) => [dim("h"), dim("k"), dim("m")],
    op.matmul,
    batches,
  );
  product(
    "the product of a tensor with itself",
    (dim) => [dim("n"), dim("m"), dim("m")],
    (dim) => [dim("m"), dim("m")],
    (a, b) => op.matmul(op.matmul(a, a), b),
  );
});
