import { sameShape } from "../dim.ts";
import { apply, mismatch, sameDType, tensorAt } from "../infer.ts";
import type { Op, Operand, Tensor, Type } from "../tensor.ts";

/** Normalisations over the last axis, softmax, and the activations that have kernels of their own. */

function overLastAxis(op: string, operands: readonly Operand[]): Type[] {
  sameDType(op, operands);
  const x = tensorAt(op, operands, 0);
  for (let i = 1; i < operands.length; i++) {
    if (!sameShape(tensorAt(op, operands, i).shape, [x.dim(-1)])) {
      throw mismatch(op, operands, `expected [${x.dim(-1)}]`);
    }
  }
  return [x];
}

const LayerNormalization: Op = {
  name: "LayerNormalization",
  domain: "",
  infer: (operands) => overLastAxis("LayerNormalization", operands),
};

/** RMSNorm, under the name that ONNX Runtime gives it. */
const SimplifiedLayerNormalization: Op = {
  name: "SimplifiedLayerNormalization",
  domain: "",
  infer: (operands) => overLastAxis("SimplifiedLayerNormalization", operands),
};

const Softmax: Op = {
  name: "Softmax",
  domain: "",
  infer: (operands) => overLastAxis("Softmax", operands),
};

const LogSoftmax: Op = {
  name: "LogSoftmax",
  domain: "",
  infer: (operands) => overLastAxis("LogSoftmax", operands),
};

/** The exact GELU, x * Phi(x). */
const Gelu: Op = {
  name: "Gelu",
  domain: "com.microsoft",
  infer: (operands) => overLastAxis("Gelu", operands),
};

/** x * sigmoid(alpha x); SiLU where alpha is 1. */
const QuickGelu: Op = {
  name: "QuickGelu",
  domain: "com.microsoft",
  infer: (operands) => overLastAxis("QuickGelu", operands),
};

export const normOps = {
  LayerNormalization,
  SimplifiedLayerNormalization,
  Softmax,
  LogSoftmax,
  Gelu,
  QuickGelu,
} as const;

const lastAxis = { axis: { int: -1 } } as const;

export const layerNormalization = (x: Tensor, scale: Tensor, bias: Tensor, epsilon: number) =>
  apply(LayerNormalization, [x, scale, bias], { ...lastAxis, epsilon: { float: epsilon } });

export const rmsNormalization = (x: Tensor, scale: Tensor, epsilon: number) =>
  apply(SimplifiedLayerNormalization, [x, scale], { ...lastAxis, epsilon: { float: epsilon } });

/** Softmax over the last axis. */
export const softmax = (x: Tensor) => apply(Softmax, [x], lastAxis);

/** Logarithm of the softmax over the last axis. */
export const logSoftmax = (x: Tensor) => apply(LogSoftmax, [x], lastAxis);

export const gelu = (x: Tensor) => apply(Gelu, [x]);

/** x * sigmoid(x) in one pass. */
export const silu = (x: Tensor) => apply(QuickGelu, [x], { alpha: { float: 1 } });
