import { type Dim, minus, plus, type Shape, sameDim, sameShape, showShape, times } from "../dim.ts";
import {
  apply,
  applyAll,
  axisOf,
  broadcast,
  dimsAt,
  intAttribute,
  intsAttribute,
  mismatch,
  onlyDescribed,
  sameDType,
  tensorAt,
} from "../infer.ts";
import type { Op, Operand, Tensor } from "../tensor.ts";

/** Operations that move elements without changing them. */

const Reshape: Op = {
  name: "Reshape",
  domain: "",
  infer(operands, attributes) {
    onlyDescribed("Reshape", operands, attributes, { operands: 2, fixed: { allowzero: 1 } });
    const x = tensorAt("Reshape", operands, 0);
    const shape = dimsAt("Reshape", operands, 1);
    if (!sameDim(times(...x.shape), times(...shape))) {
      throw mismatch("Reshape", operands, `${times(...x.shape)} != ${times(...shape)} elements`);
    }
    return [{ dtype: x.dtype, shape }];
  },
};

const Transpose: Op = {
  name: "Transpose",
  domain: "",
  infer(operands, attributes) {
    const x = tensorAt("Transpose", operands, 0);
    const order = intsAttribute(attributes, "perm");
    if (order.length !== x.rank || new Set(order).size !== x.rank) {
      throw mismatch("Transpose", operands, `[${order.join(", ")}] is no order of its axes`);
    }
    return [{ dtype: x.dtype, shape: order.map((i) => x.dim(i)) }];
  },
};

const Expand: Op = {
  name: "Expand",
  domain: "",
  infer(operands) {
    const x = tensorAt("Expand", operands, 0);
    return [{ dtype: x.dtype, shape: broadcast("Expand", operands, x.shape, dimsAt("Expand", operands, 1)) }];
  },
};

const Concat: Op = {
  name: "Concat",
  domain: "",
  infer(operands, attributes) {
    sameDType("Concat", operands);
    const parts = operands.map((_, i) => tensorAt("Concat", operands, i));
    const first = parts[0] as Tensor;
    const axis = axisOf("Concat", first, intAttribute(attributes, "axis"));
    for (const part of parts) {
      const fits =
        part.rank === first.rank && part.shape.every((d, i) => i === axis || sameDim(d, first.dim(i)));
      if (!fits) throw mismatch("Concat", operands, `the parts differ beside axis ${axis}`);
    }
    const shape = first.shape.with(axis, plus(...parts.map((p) => p.dim(axis))));
    return [{ dtype: first.dtype, shape }];
  },
};

const Split: Op = {
  name: "Split",
  domain: "",
  infer(operands, attributes) {
    const x = tensorAt("Split", operands, 0);
    const sizes = dimsAt("Split", operands, 1);
    const axis = axisOf("Split", x, intAttribute(attributes, "axis"));
    if (!sameDim(plus(...sizes), x.dim(axis))) {
      throw mismatch("Split", operands, `${showShape(sizes)} does not add up to ${x.dim(axis)}`);
    }
    return sizes.map((d) => ({ dtype: x.dtype, shape: x.shape.with(axis, d) }));
  },
};

const Slice: Op = {
  name: "Slice",
  domain: "",
  infer(operands, attributes) {
    onlyDescribed("Slice", operands, attributes, { operands: 4 });
    const x = tensorAt("Slice", operands, 0);
    const [[start], [end], [axis]] = [1, 2, 3].map((i) => dimsAt("Slice", operands, i)) as [
      Dim[],
      Dim[],
      number[],
    ];
    const at = axisOf("Slice", x, axis as number);
    for (const place of [start, end]) {
      if (typeof place === "number" && place < 0) throw mismatch("Slice", operands, `${place} is negative`);
    }
    return [{ dtype: x.dtype, shape: x.shape.with(at, minus(end as Dim, start as Dim)) }];
  },
};

/** Rows of `table` at integer indices: [rows, …] and [n] make [n, …]. */
const Gather: Op = {
  name: "Gather",
  domain: "",
  infer(operands, attributes) {
    onlyDescribed("Gather", operands, attributes, { operands: 2 });
    const table = tensorAt("Gather", operands, 0);
    const indices = tensorAt("Gather", operands, 1);
    if (indices.dtype !== "i64" && indices.dtype !== "i32")
      throw mismatch("Gather", operands, "indices are integers");
    return [{ dtype: table.dtype, shape: [...indices.shape, ...table.shape.slice(1)] }];
  },
};

/** Elements at indices along an axis; along the last one, y[i][j] = x[i][indices[i][j]]. y is shaped as indices. */
const GatherElements: Op = {
  name: "GatherElements",
  domain: "",
  infer(operands, attributes) {
    const x = tensorAt("GatherElements", operands, 0);
    const indices = tensorAt("GatherElements", operands, 1);
    const axis = axisOf("GatherElements", x, intAttribute(attributes, "axis"));
    elementIndices("GatherElements", operands, x, indices, axis);
    return [{ dtype: x.dtype, shape: indices.shape }];
  },
};

/** x with updates added at indices along an axis; several to one place all count. Updates are shaped as indices. */
const ScatterElements: Op = {
  name: "ScatterElements",
  domain: "",
  infer(operands, attributes) {
    onlyDescribed("ScatterElements", operands, attributes, {
      operands: 3,
      free: ["axis"],
      fixed: { reduction: "add" },
    });
    const [x, indices, updates] = [0, 1, 2].map((i) => tensorAt("ScatterElements", operands, i)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    sameDType("ScatterElements", [x, updates]);
    const axis = axisOf("ScatterElements", x, intAttribute(attributes, "axis"));
    elementIndices("ScatterElements", operands, x, indices, axis);
    if (!sameShape(updates.shape, indices.shape)) {
      throw mismatch("ScatterElements", operands, "as many updates as indices are expected");
    }
    return [x];
  },
};

function elementIndices(
  op: string,
  operands: readonly Operand[],
  x: Tensor,
  indices: Tensor,
  axis: number,
): void {
  if (indices.dtype !== "i64" && indices.dtype !== "i32")
    throw mismatch(op, operands, "indices are integers");
  const fits = indices.rank === x.rank && x.shape.every((d, i) => i === axis || sameDim(d, indices.dim(i)));
  if (!fits) throw mismatch(op, operands, `the indices differ beside axis ${axis}`);
}

export const layoutOps = {
  Reshape,
  Transpose,
  Expand,
  Concat,
  Split,
  Slice,
  Gather,
  GatherElements,
  ScatterElements,
} as const;

/** The same elements in another shape. A dimension of 0 is one, and does not stand for x's own at that place. */
export const reshape = (x: Tensor, shape: Shape) =>
  apply(Reshape, [x, { dims: shape }], { allowzero: { int: 1 } });

/** Axes in another order: result axis i is x's axis order[i]. */
export const transpose = (x: Tensor, order: readonly number[]) =>
  apply(Transpose, [x], { perm: { ints: order } });

/** x stretched to `shape` by broadcasting. */
export const expand = (x: Tensor, shape: Shape) => apply(Expand, [x, { dims: shape }]);

export const concat = (parts: readonly Tensor[], axis: number) =>
  parts.length === 1 ? (parts[0] as Tensor) : apply(Concat, parts, { axis: { int: axis } });

/** Parts of the given sizes along an axis. */
export const split = (x: Tensor, sizes: readonly Dim[], axis: number): Tensor[] =>
  sizes.length === 1 ? [x] : applyAll(Split, [x, { dims: sizes }], { axis: { int: axis } });

/** x[…, start:end, …] along an axis. */
export const slice = (x: Tensor, start: Dim, end: Dim, axis: number) =>
  apply(Slice, [x, { dims: [start] }, { dims: [end] }, { dims: [axisOf("Slice", x, axis)] }]);

export const gather = (table: Tensor, indices: Tensor) => apply(Gather, [table, indices]);

/** Elements of x at indices along an axis, shaped as the indices: along the last, y[i][j] = x[i][indices[i][j]]. */
export const gatherElements = (x: Tensor, indices: Tensor, axis: number) =>
  apply(GatherElements, [x, indices], { axis: { int: axis } });

/** x plus updates at indices along an axis: along the first, x[indices[i][j]][j] += updates[i][j], repeated ones too. */
export const scatterAdd = (x: Tensor, indices: Tensor, updates: Tensor, axis: number) =>
  apply(ScatterElements, [x, indices, updates], { axis: { int: axis }, reduction: { string: "add" } });
