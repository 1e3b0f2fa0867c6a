import { floatAttribute } from "../infer.ts";
import type { normOps } from "../ops/norm.ts";
import {
  add,
  dimValue,
  div,
  erf,
  exp,
  matmulTransposed,
  mean,
  mul,
  reshape,
  sqrt,
  sub,
  sum,
} from "../ops.ts";
import type { Tensor } from "../tensor.ts";
import { type Rule, sumTo, unary } from "./rule.ts";

/**
 * y = unit * scale (+ bias), unit being x without its mean (RMSNorm keeps it) over its deviation. What changes the mean
 * or the deviation of a row has no effect, and is taken out of the gradient. Row means of products with scale are
 * matrix products, so that the activations are passed over as seldom as possible.
 */
const normalisation =
  (centred: boolean): Rule =>
  ({ operands, attributes, upstream }) => {
    const [x, scale] = operands as [Tensor, Tensor];
    const [g] = upstream as [Tensor];
    const centre = centred ? sub(x, mean(x, [-1])) : x;
    const deviation = sqrt(add(mean(mul(centre, centre), [-1]), floatAttribute(attributes, "epsilon")));
    const unit = div(centre, deviation);
    const along = mul(g, unit);
    const width = scale.dim(0);
    const share = reshape(div(scale, dimValue(width, x.dtype)), [1, width]);
    const meanWithScale = (t: Tensor) => matmulTransposed(t, share);
    const bound = mul(unit, meanWithScale(along));
    const free = sub(mul(g, scale), centred ? add(bound, meanWithScale(g)) : bound);
    return [div(free, deviation), sumTo(along, scale.shape), sumTo(g, scale.shape)];
  };

/** Phi(x) + x phi(x), with u = x / sqrt(2): (1 + erf u) / 2 + u / exp(u^2) / sqrt(pi). Far out, exp is infinite: 0. */
function geluSlope(x: Tensor): Tensor {
  const u = mul(x, Math.SQRT1_2);
  const bell = mul(div(u, exp(mul(u, u))), 1 / Math.sqrt(Math.PI));
  return add(bell, add(mul(erf(u), 0.5), 0.5));
}

export const normGradients: Record<keyof typeof normOps, Rule> = {
  LayerNormalization: normalisation(true),
  SimplifiedLayerNormalization: normalisation(false),
  Softmax: unary((g, _, y) => mul(y, sub(g, sum(mul(g, y), [-1])))),
  LogSoftmax: unary((g, _, y) => sub(g, mul(exp(y), sum(g, [-1])))),
  Gelu: unary((g, x) => mul(g, geluSlope(x))),
};
