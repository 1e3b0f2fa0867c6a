import { OryxError } from "../core/errors.ts";
import { sameShape, showShape } from "./dim.ts";
import { attentionGradients } from "./gradients/attention.ts";
import { elementwiseGradients } from "./gradients/elementwise.ts";
import { layoutGradients } from "./gradients/layout.ts";
import { matmulGradients } from "./gradients/matmul.ts";
import { normGradients } from "./gradients/norm.ts";
import { quantisedGradients } from "./gradients/quantised.ts";
import { reduceGradients } from "./gradients/reduce.ts";
import { type Rule, zeros } from "./gradients/rule.ts";
import { add, type OpName } from "./ops.ts";
import { inOrder, outputsOf, TensorMap } from "./order.ts";
import { type Apply, label, Tensor } from "./tensor.ts";

/** How gradients pass each operation. A table without one of them does not compile. */
export const GRADIENTS: Readonly<Record<OpName, Rule>> = {
  ...elementwiseGradients,
  ...layoutGradients,
  ...matmulGradients,
  ...normGradients,
  ...reduceGradients,
  ...attentionGradients,
  ...quantisedGradients,
};

/** A tensor whose gradient is known: that of a loss with respect to itself is 1. */
export interface Seed {
  readonly of: Tensor;
  /** Its gradient, of its type and shape. */
  readonly upstream: Tensor;
}

/**
 * Reverse-mode differentiation: describes the gradients with respect to `wrt` of a number that depends on the
 * graph through the seeds alone. The result is more graph, of ordinary operations; only what lies between the seeds
 * and `wrt` takes part.
 *
 * @returns for each of `wrt` a tensor of its type and shape: zeros where no seed depends on it
 * @throws OryxError `gradient_missing` when the only way leads through an operation that has none;
 * `graph_shape`, `graph_dtype` when an upstream gradient does not fit its tensor, or a tensor holds no real numbers.
 */
export function gradients(seeds: readonly Seed[], wrt: readonly Tensor[]): Tensor[] {
  for (const { of, upstream } of seeds) checkSeed(of, upstream);
  for (const t of wrt) checkReal(t);
  const applies = inOrder(seeds.map(({ of }) => of));
  const dependent = dependents(applies, wrt);
  const sums = new TensorMap<Tensor>();
  const addTo = (t: Tensor, g: Tensor) => {
    const known = sums.get(t);
    sums.set(t, known === undefined ? g : add(known, g));
  };
  for (const { of, upstream } of seeds) addTo(of, upstream);
  for (const a of applies.reverse()) {
    if (!a.operands.some((x) => dependent.has(x))) continue;
    const outputs = outputsOf(a);
    if (outputs.every((y) => sums.get(y) === undefined)) continue;
    const upstream = outputs.map((y) => sums.get(y) ?? zeros(y));
    const { operands, attributes } = a;
    const found = ruleOf(a)({ operands, attributes, outputs, upstream });
    operands.forEach((x, i) => {
      if (!(x instanceof Tensor) || !dependent.has(x)) return;
      const g = found[i];
      if (isReal(x) !== (g !== undefined)) throw missing(a);
      if (g !== undefined) addTo(x, g);
    });
  }
  return wrt.map((t) => sums.get(t) ?? zeros(t));
}

/** The tensors among the operands that depend on one of `wrt`, each of which depends on itself. */
function dependents(applies: readonly Apply[], wrt: readonly Tensor[]): TensorMap<true> {
  const dependent = new TensorMap<true>();
  for (const t of wrt) dependent.set(t, true);
  for (const a of applies) {
    if (a.operands.some((x) => dependent.has(x))) for (const y of outputsOf(a)) dependent.set(y, true);
  }
  return dependent;
}

function ruleOf(a: Apply): Exclude<Rule, "none"> {
  const rule = GRADIENTS[a.op.name as OpName];
  if (rule === undefined || rule === "none") throw missing(a);
  return rule;
}

const missing = (a: Apply) =>
  new OryxError(
    "gradient_missing",
    `${a.op.name}(${a.operands.map(label).join(", ")}) has no gradient`,
    "train parameters that do not lead through it, or store weights as f32",
  );

const isReal = (t: Tensor) => ["f32", "f64", "f16", "bf16"].includes(t.dtype);

function checkReal(t: Tensor): void {
  if (isReal(t)) return;
  throw new OryxError("graph_dtype", `${label(t)} is ${t.dtype}: it has no gradient`, "ask for another's");
}

function checkSeed(of: Tensor, upstream: Tensor): void {
  checkReal(of);
  if (of.dtype === upstream.dtype && sameShape(of.shape, upstream.shape)) return;
  const problem = `the gradient of ${label(of)} ${of.dtype} is ${upstream.dtype} ${showShape(upstream.shape)}`;
  throw new OryxError("graph_shape", problem, "give a gradient of the tensor's own type and shape");
}
