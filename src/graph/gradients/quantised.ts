import type { quantisedOps } from "../ops/quantised.ts";
import type { Rule } from "./rule.ts";

/** Integer weights are for inference; nothing is trained through them. */
export const quantisedGradients: Record<keyof typeof quantisedOps, Rule> = {
  MatMulNBits: "none",
  GatherBlockQuantized: "none",
  QuantizeLinear: "none",
  MatMulIntegerToFloat: "none",
};
