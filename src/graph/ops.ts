import { OryxError } from "../core/errors.ts";
import { attentionOps } from "./ops/attention.ts";
import { elementwiseOps } from "./ops/elementwise.ts";
import { layoutOps } from "./ops/layout.ts";
import { matmulOps } from "./ops/matmul.ts";
import { normOps } from "./ops/norm.ts";
import { reduceOps } from "./ops/reduce.ts";
import type { Attributes, Operand, Type } from "./tensor.ts";

/**
 * One operation of the graph, named as ONNX names it. A record says everything about it, and nothing is optional.
 */
export interface Op {
  /** "" is ONNX itself; the other is ONNX Runtime's own set. */
  readonly domain: "" | "com.microsoft";
  /** Types of its outputs; throws `graph_shape` or `graph_dtype` when the operands do not fit. */
  infer(operands: readonly Operand[], attributes: Attributes): Type[];
}

/** Every operation there is. A table over `OpName` (a gradient for each, say) is complete or does not compile. */
export const OPS = {
  ...elementwiseOps,
  ...layoutOps,
  ...matmulOps,
  ...normOps,
  ...reduceOps,
  ...attentionOps,
} as const satisfies Record<string, Op>;

export type OpName = keyof typeof OPS;

export function floatAttribute(attributes: Attributes, name: string): number {
  const a = attributes[name];
  if (a === undefined || !("float" in a)) throw missing(name);
  return a.float;
}

export function intAttribute(attributes: Attributes, name: string): number {
  const a = attributes[name];
  if (a === undefined || !("int" in a)) throw missing(name);
  return a.int;
}

export function intsAttribute(attributes: Attributes, name: string): readonly number[] {
  const a = attributes[name];
  if (a === undefined || !("ints" in a)) throw missing(name);
  return a.ints;
}

const missing = (name: string) => new OryxError("graph_shape", `attribute ${name} is missing`, "fix the operation");
