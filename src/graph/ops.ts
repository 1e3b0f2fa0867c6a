import { attentionOps } from "./ops/attention.ts";
import { elementwiseOps } from "./ops/elementwise.ts";
import { layoutOps } from "./ops/layout.ts";
import { matmulOps } from "./ops/matmul.ts";
import { normOps } from "./ops/norm.ts";
import { quantisedOps } from "./ops/quantised.ts";
import { reduceOps } from "./ops/reduce.ts";
import type { Op } from "./tensor.ts";

/** Every operation there is, by its name. A table over `OpName` (a gradient for each, say) is complete or does not compile. */
export const OPS = {
  ...elementwiseOps,
  ...layoutOps,
  ...matmulOps,
  ...normOps,
  ...reduceOps,
  ...attentionOps,
  ...quantisedOps,
} as const satisfies Record<string, Op>;

export type OpName = keyof typeof OPS;

export * from "./ops/attention.ts";
export * from "./ops/elementwise.ts";
export * from "./ops/layout.ts";
export * from "./ops/matmul.ts";
export * from "./ops/norm.ts";
export * from "./ops/quantised.ts";
export * from "./ops/reduce.ts";
