import { afterAll, beforeAll, describe, it } from "vitest";
import { expectGradients } from "../../test/support/finite-differences.ts";
import type { Random } from "../core/random.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { type Dim, minus, plus, times } from "./dim.ts";
import * as op from "./ops.ts";
import { constant, type Tensor } from "./tensor.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

const sizes = { a: [0, 4], b: [0, 3], c: [1, 4] } as const;
/** Enough to be cut. */
const long = { a: [3, 5], b: [3, 4], c: [3, 5] } as const;
type Dims = (name: string) => Dim;

/** Random indices below `limit`, so few that some occur more than once. */
const indices = (random: Random, shape: number[], limit: number): Tensor =>
  constant({
    dtype: "i64",
    shape,
    data: BigInt64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () =>
      BigInt(Math.floor(random.next() * limit)),
    ),
  });

/** One tensor, moved about; squared so that the gradient depends on where an element came from. */
const moved = (
  shape: (dim: Dims) => Dim[],
  f: (x: Tensor, random: Random) => Tensor,
  range: Record<string, readonly [number, number]> = sizes,
) =>
  expectGradients(runtime, range, (random) => {
    return {
      shapes: (dim) => ({ x: shape(dim) }),
      f: ({ x }) => {
        const y = f(x as Tensor, random);
        return op.mul(y, y);
      },
    };
  });

describe("the gradient equals finite differences of", () => {
  it("Reshape", () =>
    moved(
      (dim) => [dim("a"), dim("b"), dim("c")],
      (x) => op.reshape(x, [times(x.dim(0), x.dim(2)), x.dim(1)]),
    ));

  for (const order of [
    [1, 2, 0],
    [2, 0, 1],
    [0, 2, 1],
  ]) {
    it(`Transpose [${order}]`, () =>
      moved(
        (dim) => [dim("a"), dim("b"), dim("c")],
        (x) => op.transpose(x, order),
      ));
  }

  it("Expand", () =>
    moved(
      (dim) => [dim("b"), 1],
      (x) => op.expand(x, [3, x.dim(0), plus(x.dim(0), 2)]),
    ));

  for (const axis of [0, 1, -1]) {
    it(`Concat along ${axis}, a tensor occurring twice`, () =>
      expectGradients(runtime, sizes, () => ({
        shapes: (dim) => {
          const shape = [dim("a"), dim("b"), dim("c")];
          return { x: shape, y: shape.with(axis, plus(shape.at(axis) as Dim, 1)) };
        },
        f: ({ x, y }) => {
          const all = op.concat([x, y, x] as Tensor[], axis);
          return op.mul(all, all);
        },
      })));

    it(`Split along ${axis}, one part unused`, () =>
      moved(
        (dim) => [dim("a"), dim("b"), dim("c")],
        (x) => {
          const [first, , last] = op.split(x, [1, minus(x.dim(axis), 3), 2], axis);
          return op.concat([last as Tensor, first as Tensor], axis);
        },
        long,
      ));

    it(`Slice along ${axis}`, () =>
      moved(
        (dim) => [dim("a"), dim("b"), dim("c")],
        (x, random) => op.slice(x, random.next() < 0.5 ? 0 : 1, random.next() < 0.5 ? x.dim(axis) : 2, axis),
        long,
      ));
  }

  it("Gather of rows, the first one often", () =>
    moved(
      (dim) => [dim("c"), 2, dim("c")],
      (x, random) => op.gather(x, indices(random, [2, 3], 1)),
    ));

  it("Gather of all rows, the last one often", () =>
    moved(
      (dim) => [5, dim("c")],
      (x, random) => op.gather(x, indices(random, [random.bits() % 9], 5)),
    ));

  for (const axis of [0, 1]) {
    it(`GatherElements along ${axis}`, () =>
      moved(
        () => [4, 4],
        (x, random) => op.gatherElements(x, indices(random, axis === 0 ? [6, 4] : [4, 6], 4), axis),
      ));

    it(`ScatterElements along ${axis}, some places often`, () =>
      expectGradients(runtime, {}, (random) => {
        const shape = axis === 0 ? [6, 3] : [3, 6];
        const places = indices(random, shape, 3);
        return {
          shapes: () => ({ x: [3, 3], updates: shape }),
          f: ({ x, updates }) => {
            const y = op.scatterAdd(x as Tensor, places, updates as Tensor, axis);
            return op.mul(y, y);
          },
        };
      }));
  }
});
