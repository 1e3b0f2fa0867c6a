import { gatherElements, logSoftmax, neg, reshape, sum } from "../graph/ops.ts";
import type { Tensor } from "../graph/tensor.ts";

/**
 * Sum over rows of -log p(target), in nats.
 * @param logits [rows, vocabulary] @param targets i64 [rows] @returns a scalar
 */
export function crossEntropy(logits: Tensor, targets: Tensor): Tensor {
  const likely = gatherElements(logSoftmax(logits), reshape(targets, [targets.dim(0), 1]), 1);
  return neg(reshape(sum(likely, [0, 1]), []));
}
