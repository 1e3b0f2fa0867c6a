import type { Dim } from "../dim.ts";
import { apply, axisOf, dimsAt, mismatch, onlyDescribed, tensorAt } from "../infer.ts";
import type { Op, Tensor } from "../tensor.ts";

/** Reductions over chosen axes, which stay as 1. */

const reduction = (name: string): Op => ({
  name,
  domain: "",
  infer(operands, attributes) {
    onlyDescribed(name, operands, attributes, { operands: 2, fixed: { keepdims: 1 } });
    const x = tensorAt(name, operands, 0);
    const axes = dimsAt(name, operands, 1).map((a) => axisOf(name, x, a as number));
    // ONNX takes no axes for all of them.
    if (axes.length === 0 && x.rank > 0) throw mismatch(name, operands, "name the axes");
    return [{ dtype: x.dtype, shape: x.shape.map((d, i): Dim => (axes.includes(i) ? 1 : d)) }];
  },
});

export const reduceOps = {
  ReduceMean: reduction("ReduceMean"),
  ReduceSum: reduction("ReduceSum"),
  ReduceMax: reduction("ReduceMax"),
} as const;

/** Axes are counted from the front: of an empty tensor, ONNX Runtime leaves an axis counted from the end as it is. */
const over = (op: Op) => (x: Tensor, axes: readonly number[]) =>
  apply(op, [x, { dims: axes.map((axis) => axisOf(op.name, x, axis)) }], { keepdims: { int: 1 } });

export const mean = over(reduceOps.ReduceMean);
export const sum = over(reduceOps.ReduceSum);
export const max = over(reduceOps.ReduceMax);
