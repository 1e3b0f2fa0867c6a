import type { DType } from "../core/dtype.ts";
import { OryxError } from "../core/errors.ts";
import type { StoredTensor, TensorData } from "../core/tensor.ts";
import { type Dim, type Shape, showShape } from "./dim.ts";

/** What is known of a tensor before the graph runs. */
export interface Type {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** ONNX attributes, tagged because JavaScript cannot tell 1 from 1.0. */
export type Attribute =
  | { int: number }
  | { float: number }
  | { ints: readonly number[] }
  | { string: string };
export type Attributes = Readonly<Record<string, Attribute>>;

/** What an operation works on: tensors, and dimensions (an i64 list or scalar, computed when the graph runs). */
export type Operand = Tensor | { readonly dims: readonly Dim[] } | { readonly scalar: Dim };

/** Where a tensor comes from. */
export type Source =
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "weight"; readonly name: string; readonly stored: StoredTensor }
  | { readonly kind: "constant"; readonly data: TensorData }
  | { readonly kind: "apply"; readonly apply: Apply; readonly output: number };

/** One operation of the graph, named as ONNX names it. A record says everything about it; nothing is optional. */
export interface Op {
  readonly name: string;
  /** "" is ONNX itself; the other is ONNX Runtime's own set. */
  readonly domain: "" | "com.microsoft";
  /** Types of its outputs; throws `graph_shape` or `graph_dtype` when the operands do not fit. */
  infer(operands: readonly Operand[], attributes: Attributes): Type[];
}

/** One operation applied to operands. */
export interface Apply {
  readonly op: Op;
  readonly operands: readonly Operand[];
  readonly attributes: Attributes;
  /** How many tensors it makes. */
  readonly outputs: number;
}

/**
 * A value of the graph: a type and where it comes from. Tensors are immutable and know their whole history, so a
 * graph is nothing but the tensors one asks for; there is no builder, and no state.
 */
export class Tensor implements Type {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly source: Source;

  constructor(type: Type, source: Source) {
    this.dtype = type.dtype;
    this.shape = type.shape;
    this.source = source;
  }

  get rank(): number {
    return this.shape.length;
  }

  /** Dimension at `axis`, which may count from the end. */
  dim(axis: number): Dim {
    const d = this.shape.at(axis);
    if (d === undefined) {
      throw new OryxError("graph_shape", `${label(this)} has no axis ${axis}`, "fix the model description");
    }
    return d;
  }
}

/** A tensor that the caller feeds. */
export function input(name: string, dtype: DType, shape: Shape): Tensor {
  return new Tensor({ dtype, shape }, { kind: "input", name });
}

/** A tensor of the checkpoint, in the type in which it is stored. */
export function weight(name: string, stored: StoredTensor): Tensor {
  return new Tensor({ dtype: stored.dtype, shape: stored.shape }, { kind: "weight", name, stored });
}

/** A tensor whose elements are part of the graph. */
export function constant(data: TensorData): Tensor {
  return new Tensor({ dtype: data.dtype, shape: data.shape }, { kind: "constant", data });
}

/** How messages name a tensor: a weight or an input by its name, anything else by its operation; then the shape. */
export function label(t: Operand): string {
  if (!(t instanceof Tensor)) return "dims" in t ? showShape(t.dims) : String(t.scalar);
  const s = t.source;
  const name = s.kind === "apply" ? s.apply.op.name : s.kind === "constant" ? "constant" : s.name;
  return `${name} ${showShape(t.shape)}`;
}

/** What a model computes: its outputs by name, which hold all that leads to them. */
export interface Graph {
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Symbols whose value the caller feeds, as i64 scalars of that name; every other one is read off an input's shape. */
  readonly sizes: readonly string[];
}
