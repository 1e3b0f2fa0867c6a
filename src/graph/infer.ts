import { OryxError } from "../core/errors.ts";
import { type Dim, type Shape, sameDim, sameShape, times } from "./dim.ts";
import { label, type Operand, Tensor, type Type } from "./tensor.ts";

/** Helpers of shape inference, and its errors: they name the operation, its operands, and so the parameter. */

export function mismatch(op: string, operands: readonly Operand[], reason: string): OryxError {
  const problem = `${op}(${operands.map(label).join(", ")}): ${reason}`;
  return new OryxError("graph_shape", problem, "fix the model description, or the config that it was built from");
}

/** The operand as a tensor of a float or integer type. */
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

export const elements = (shape: Shape): Dim => times(...shape);

export function expectShape(op: string, operands: readonly Operand[], t: Type, shape: Shape): void {
  if (!sameShape(t.shape, shape)) throw mismatch(op, operands, `expected [${shape.join(", ")}]`);
}
