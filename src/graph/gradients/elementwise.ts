import type { elementwiseOps } from "../ops/elementwise.ts";
import { cast, cos, div, exp, greater, mul, neg, scalar, sin, sub, where } from "../ops.ts";
import type { Tensor } from "../tensor.ts";
import { binary, type Rule, sumTo, unary } from "./rule.ts";

const zero = (x: Tensor) => scalar(0, x.dtype);

const Where: Rule = ({ operands, upstream }) => {
  const [test, a, b] = operands as [Tensor, Tensor, Tensor];
  const [g] = upstream as [Tensor];
  return [undefined, sumTo(where(test, g, zero(g)), a.shape), sumTo(where(test, zero(g), g), b.shape)];
};

export const elementwiseGradients: Record<keyof typeof elementwiseOps, Rule> = {
  Add: binary((g) => [g, g]),
  Sub: binary((g) => [g, neg(g)]),
  Mul: binary((g, a, b) => [mul(g, b), mul(g, a)]),
  Div: binary((g, _, b, y) => [div(g, b), neg(div(mul(g, y), b))]),
  Greater: "none",
  Equal: "none",
  Neg: unary((g) => neg(g)),
  Abs: unary((g, x) => where(greater(x, 0), g, where(greater(zero(x), x), neg(g), zero(g)))),
  Relu: unary((g, x) => where(greater(x, 0), g, zero(g))),
  Sigmoid: unary((g, _, y) => mul(g, sub(y, mul(y, y)))),
  Exp: unary((g, _, y) => mul(g, y)),
  Log: unary((g, x) => div(g, x)),
  Sqrt: unary((g, _, y) => div(mul(g, 0.5), y)),
  Erf: unary((g, x) => mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI)))),
  Cos: unary((g, x) => neg(mul(g, sin(x)))),
  Sin: unary((g, x) => mul(g, cos(x))),
  Cast: unary((g, x) => cast(g, x.dtype)),
  Where,
  Range: "none",
  Identity: unary((g) => g),
};
