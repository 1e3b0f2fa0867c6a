import { sameShape } from "../dim.ts";
import { apply, type Described, mismatch, onlyDescribed, sameDType, tensorAt } from "../infer.ts";
import type { Op, Tensor } from "../tensor.ts";

/** Normalisations over the last axis, softmax, and the activations that have kernels of their own. */

/** An operation on x [.., width], whose further operands are [width]. */
const overLastAxis = (name: string, domain: Op["domain"], described: Described): Op => ({
  name,
  domain,
  infer(operands, attributes) {
    onlyDescribed(name, operands, attributes, described);
    sameDType(name, operands);
    const x = tensorAt(name, operands, 0);
    for (let i = 1; i < operands.length; i++) {
      if (!sameShape(tensorAt(name, operands, i).shape, [x.dim(-1)])) {
        throw mismatch(name, operands, `expected [${x.dim(-1)}]`);
      }
    }
    return [x];
  },
});

const normalisation = { free: ["epsilon"], fixed: { axis: -1 } };
const LayerNormalization = overLastAxis("LayerNormalization", "", { operands: 3, ...normalisation });
/** RMSNorm, under the name that ONNX Runtime gives it. */
const SimplifiedLayerNormalization = overLastAxis("SimplifiedLayerNormalization", "", {
  operands: 2,
  ...normalisation,
});
const Softmax = overLastAxis("Softmax", "", { operands: 1, fixed: { axis: -1 } });
const LogSoftmax = overLastAxis("LogSoftmax", "", { operands: 1, fixed: { axis: -1 } });
/** The exact GELU, x * Phi(x). */
const Gelu = overLastAxis("Gelu", "com.microsoft", { operands: 1 });

export const normOps = {
  LayerNormalization,
  SimplifiedLayerNormalization,
  Softmax,
  LogSoftmax,
  Gelu,
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
