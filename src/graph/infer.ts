import { OryxError } from "../core/errors.ts";
import { type Dim, type Shape, sameDim } from "./dim.ts";
import { type Attributes, label, type Op, type Operand, Tensor } from "./tensor.ts";

/** What shape inference shares: checked access to operands and attributes, and errors that name the parameter. */

export function mismatch(op: string, operands: readonly Operand[], reason: string): OryxError {
  const problem = `${op}(${operands.map(label).join(", ")}): ${reason}`;
  return new OryxError(
    "graph_shape",
    problem,
    "fix the model description, or the config that it was built from",
  );
}

export function tensorAt(op: string, operands: readonly Operand[], i: number): Tensor {
  const t = operands[i];
  if (!(t instanceof Tensor)) throw mismatch(op, operands, `operand ${i} must be a tensor`);
  return t;
}

export function dimsAt(op: string, operands: readonly Operand[], i: number): readonly Dim[] {
  const t = operands[i];
  if (t === undefined || t instanceof Tensor || !("dims" in t)) {
    throw mismatch(op, operands, `operand ${i} must be a list of dimensions`);
  }
  return t.dims;
}

/** Numpy broadcasting; a symbolic dimension equals only itself, and 1 stretches. */
export function broadcast(op: string, operands: readonly Operand[], a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  const out: Dim[] = [];
  for (let i = -rank; i < 0; i++) {
    const x = a.at(i) ?? 1;
    const y = b.at(i) ?? 1;
    if (-i > a.length || x === 1) out.push(y);
    else if (-i > b.length || y === 1 || sameDim(x, y)) out.push(x);
    else throw mismatch(op, operands, `${x} != ${y}`);
  }
  return out;
}

/** Throws unless all tensors among the operands have one element type. */
export function sameDType(op: string, operands: readonly Operand[]): void {
  const [first, ...rest] = operands.filter((t): t is Tensor => t instanceof Tensor);
  for (const t of rest) {
    if (t.dtype !== first?.dtype) {
      const problem = `${op}(${operands.map(label).join(", ")}): ${first?.dtype} != ${t.dtype}`;
      throw new OryxError("graph_dtype", problem, "cast one of them");
    }
  }
}

/** An axis counted from the front. */
export function axisOf(op: string, t: Tensor, axis: number): number {
  const i = axis < 0 ? axis + t.rank : axis;
  if (!Number.isInteger(i) || i < 0 || i >= t.rank) throw mismatch(op, [t], `there is no axis ${axis}`);
  return i;
}

const missing = (name: string) =>
  new OryxError("graph_shape", `attribute ${name} is missing`, "fix the operation");

export function intAttribute(attributes: Attributes, name: string): number {
  const a = attributes[name];
  if (a === undefined || !("int" in a)) throw missing(name);
  return a.int;
}

export function floatAttribute(attributes: Attributes, name: string): number {
  const a = attributes[name];
  if (a === undefined || !("float" in a)) throw missing(name);
  return a.float;
}

export function intsAttribute(attributes: Attributes, name: string): readonly number[] {
  const a = attributes[name];
  if (a === undefined || !("ints" in a)) throw missing(name);
  return a.ints;
}

/** What an operation may be given here, of all that ONNX lets it be given. */
export interface Described {
  /** Operands, at most. */
  operands: number;
  /** Attributes of any value. */
  free?: readonly string[];
  /** Attributes that must have this value: shapes and gradients are described for no other. */
  fixed?: Readonly<Record<string, number | string>>;
}

/**
 * Throws when an operation is given more than is described of it: a mask, a step, an axis that ONNX Runtime would heed,
 * and that its gradient would silently do without.
 */
export function onlyDescribed(
  op: string,
  operands: readonly Operand[],
  attributes: Attributes,
  { operands: most, free = [], fixed = {} }: Described,
): void {
  if (operands.length > most) throw mismatch(op, operands, `at most ${most} operands are described`);
  for (const name of new Set([...Object.keys(attributes), ...Object.keys(fixed)])) {
    if (free.includes(name)) continue;
    const [value] = Object.values(attributes[name] ?? {});
    if (value === undefined || value !== fixed[name]) {
      throw mismatch(op, operands, `it is not described with the attribute ${name} = ${value}`);
    }
  }
}

/** Applies an operation and returns all its outputs. */
export function applyAll(op: Op, operands: readonly Operand[], attributes: Attributes = {}): Tensor[] {
  const types = op.infer(operands, attributes);
  const apply = { op, operands, attributes, outputs: types.length };
  return types.map((type, output) => new Tensor(type, { kind: "apply", apply, output }));
}

/** Applies an operation that makes one tensor. */
export function apply(op: Op, operands: readonly Operand[], attributes: Attributes = {}): Tensor {
  return applyAll(op, operands, attributes)[0]!;
}
