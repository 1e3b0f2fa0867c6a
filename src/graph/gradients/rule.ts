import { type Dim, type Shape, sameDim, times } from "../dim.ts";
import { expand, gemm, reshape, scalar, sum } from "../ops.ts";
import type { Attributes, Operand, Tensor } from "../tensor.ts";

/** One operation as backpropagation sees it. */
export interface Step {
  readonly operands: readonly Operand[];
  readonly attributes: Attributes;
  /** What it made. */
  readonly outputs: readonly Tensor[];
  /** The gradient of each output, of its shape. */
  readonly upstream: readonly Tensor[];
}

/**
 * How gradients pass an operation: from those of its outputs to one for each operand, shaped as that operand;
 * nothing for operands that only choose (indices, tests, dimensions). Whatever is not asked for is never computed,
 * because it is only described. "none": the operation has no gradient, and asking for one is an error.
 */
export type Rule = "none" | ((step: Step) => readonly (Tensor | undefined)[]);

/** A rule for y = f(x), g being the gradient of y. */
export const unary =
  (rule: (g: Tensor, x: Tensor, y: Tensor) => Tensor): Rule =>
  ({ operands: [x], outputs: [y], upstream: [g] }) => [rule(g as Tensor, x as Tensor, y as Tensor)];

/** A rule for y = f(a, b) under broadcasting: what the rule returns is summed to the operands' shapes. */
export const binary =
  (rule: (g: Tensor, a: Tensor, b: Tensor, y: Tensor) => [Tensor, Tensor]): Rule =>
  ({ operands, outputs: [y], upstream: [g] }) => {
    const [a, b] = operands as [Tensor, Tensor];
    const [da, db] = rule(g as Tensor, a, b, y as Tensor);
    return [sumTo(da, a.shape), sumTo(db, b.shape)];
  };

/** Undoes broadcasting: sums g over the axes along which a tensor of that shape was stretched. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  const extra = g.rank - shape.length;
  const axes = g.shape.flatMap((d, axis) => {
    const stretched = axis < extra || !sameDim(shape[axis - extra] as Dim, d);
    return stretched ? [axis] : [];
  });
  if (axes.length === 0) return g;
  const overRows = axes.length === g.rank - 1 && !axes.includes(g.rank - 1);
  return reshape(overRows ? columnSums(g) : sum(g, axes), shape);
}

/**
 * Sums over all axes but the last, [columns, 1], as a product with ones: 2 to 6 times as fast as the reduction, and
 * nearer to the exact sum (2000 x 256: 0.05 against 0.12 ms, errors 1e-6 against 2e-6).
 */
function columnSums(g: Tensor): Tensor {
  const rows = flat(g);
  return gemm(rows, expand(scalar(1, g.dtype), [rows.dim(0), 1]), 1, 0);
}

/** All axes before the last as the rows of one matrix. */
export const flat = (x: Tensor) => reshape(x, [times(...x.shape.slice(0, -1)), x.dim(-1)]);

export const zeros = (like: Pick<Tensor, "dtype" | "shape">): Tensor =>
  expand(scalar(0, like.dtype), like.shape);
