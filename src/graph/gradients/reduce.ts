import { type Dim, times } from "../dim.ts";
import type { reduceOps } from "../ops/reduce.ts";
import { cast, dimValue, div, equal, expand, mul, sum } from "../ops.ts";
import type { Tensor } from "../tensor.ts";
import type { Rule, Step } from "./rule.ts";

function parts({ operands, outputs, upstream }: Step) {
  const [x, { dims: axes }] = operands as [Tensor, { dims: readonly number[] }];
  return { x, axes, y: outputs[0] as Tensor, g: upstream[0] as Tensor };
}

const ReduceSum: Rule = (step) => {
  const { x, g } = parts(step);
  return [expand(g, x.shape)];
};

const ReduceMean: Rule = (step) => {
  const { x, axes, g } = parts(step);
  const count: Dim = times(...axes.map((axis) => x.dim(axis)));
  const share = typeof count === "number" ? mul(g, 1 / count) : div(g, dimValue(count, g.dtype));
  return [expand(share, x.shape)];
};

/** Those that are largest share the gradient alike. */
const ReduceMax: Rule = (step) => {
  const { x, axes, y, g } = parts(step);
  const largest = cast(equal(x, y), x.dtype);
  return [mul(largest, div(g, sum(largest, axes)))];
};

export const reduceGradients: Record<keyof typeof reduceOps, Rule> = { ReduceSum, ReduceMean, ReduceMax };
