import { type DType, ONNX_DTYPE } from "../../core/dtype.ts";
import type { Dim } from "../dim.ts";
import { apply, broadcast, mismatch, sameDType, tensorAt } from "../infer.ts";
import { constant, type Op, Tensor } from "../tensor.ts";

/** Operations that work on each element by itself. */

const unary = (name: string): Op => ({
  name,
  domain: "",
  infer: (operands) => [tensorAt(name, operands, 0)],
});

const binary = (name: string, out?: DType): Op => ({
  name,
  domain: "",
  infer(operands) {
    sameDType(name, operands);
    const a = tensorAt(name, operands, 0);
    const shape = broadcast(name, operands, a.shape, tensorAt(name, operands, 1).shape);
    return [{ dtype: out ?? a.dtype, shape }];
  },
});

const Cast: Op = {
  name: "Cast",
  domain: "",
  infer(operands, attributes) {
    const to = attributes.to;
    const dtype = (Object.keys(ONNX_DTYPE) as DType[]).find(
      (d) => to && "int" in to && ONNX_DTYPE[d] === to.int,
    );
    if (dtype === undefined) throw mismatch("Cast", operands, "unknown element type");
    return [{ dtype, shape: tensorAt("Cast", operands, 0).shape }];
  },
};

const Where: Op = {
  name: "Where",
  domain: "",
  infer(operands) {
    const [test, a, b] = [0, 1, 2].map((i) => tensorAt("Where", operands, i)) as [Tensor, Tensor, Tensor];
    sameDType("Where", [a, b]);
    const shape = broadcast("Where", operands, broadcast("Where", operands, a.shape, b.shape), test.shape);
    return [{ dtype: a.dtype, shape }];
  },
};

/** Range(start, limit, step) over i64 scalars that are dimensions; its length is limit - start. */
const Range: Op = {
  name: "Range",
  domain: "",
  infer(operands) {
    const limit = operands[1];
    if (limit === undefined || limit instanceof Tensor || !("scalar" in limit)) {
      throw mismatch("Range", operands, "the limit must be a dimension");
    }
    return [{ dtype: "i64", shape: [limit.scalar] }];
  },
};

/** A dimension as an i64 tensor: Identity over the list that emission computes. */
const Identity: Op = {
  name: "Identity",
  domain: "",
  infer(operands) {
    const [d] = operands;
    if (d instanceof Tensor) return [d];
    return [{ dtype: "i64", shape: d !== undefined && "dims" in d ? [d.dims.length] : [] }];
  },
};

export const elementwiseOps = {
  Add: binary("Add"),
  Sub: binary("Sub"),
  Mul: binary("Mul"),
  Div: binary("Div"),
  Greater: binary("Greater", "bool"),
  Equal: binary("Equal", "bool"),
  Neg: unary("Neg"),
  Abs: unary("Abs"),
  Relu: unary("Relu"),
  Sigmoid: unary("Sigmoid"),
  Exp: unary("Exp"),
  Log: unary("Log"),
  Sqrt: unary("Sqrt"),
  Erf: unary("Erf"),
  Cos: unary("Cos"),
  Sin: unary("Sin"),
  Cast,
  Where,
  Range,
  Identity,
} as const;

const E = elementwiseOps;

/** A number where a tensor is expected becomes a scalar of the other operand's type. */
type Value = Tensor | number;

/** A scalar of the graph. */
export function scalar(value: number, dtype: DType): Tensor {
  switch (dtype) {
    case "f32":
      return constant({ dtype, shape: [], data: Float32Array.of(value) });
    case "f64":
      return constant({ dtype, shape: [], data: Float64Array.of(value) });
    case "i64":
      return constant({ dtype, shape: [], data: BigInt64Array.of(BigInt(value)) });
    default:
      throw mismatch("scalar", [], `no scalar of type ${dtype}`);
  }
}

const both = (op: Op, a: Tensor, b: Value) => apply(op, [a, b instanceof Tensor ? b : scalar(b, a.dtype)]);

export const add = (a: Tensor, b: Value) => both(E.Add, a, b);
export const sub = (a: Tensor, b: Value) => both(E.Sub, a, b);
export const mul = (a: Tensor, b: Value) => both(E.Mul, a, b);
export const div = (a: Tensor, b: Value) => both(E.Div, a, b);
export const greater = (a: Tensor, b: Value) => both(E.Greater, a, b);
export const equal = (a: Tensor, b: Value) => both(E.Equal, a, b);
export const abs = (x: Tensor) => apply(E.Abs, [x]);
export const neg = (x: Tensor) => apply(E.Neg, [x]);
export const relu = (x: Tensor) => apply(E.Relu, [x]);
export const sigmoid = (x: Tensor) => apply(E.Sigmoid, [x]);
export const exp = (x: Tensor) => apply(E.Exp, [x]);
/** The natural logarithm. */
export const log = (x: Tensor) => apply(E.Log, [x]);
export const sqrt = (x: Tensor) => apply(E.Sqrt, [x]);
export const erf = (x: Tensor) => apply(E.Erf, [x]);
export const cos = (x: Tensor) => apply(E.Cos, [x]);
export const sin = (x: Tensor) => apply(E.Sin, [x]);

/** x in another element type; x itself when it has that type already. */
export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : apply(E.Cast, [x], { to: { int: ONNX_DTYPE[dtype] } });
}

/** a where test holds, else b. */
export const where = (test: Tensor, a: Tensor, b: Tensor) => apply(E.Where, [test, a, b]);

/** 0, 1, … length - 1 as i64 [length]. */
export function range(length: Dim): Tensor {
  return apply(E.Range, [{ scalar: 0 }, { scalar: length }, { scalar: 1 }]);
}

/** The value of a dimension as a scalar tensor. */
export function dimValue(d: Dim, dtype: DType): Tensor {
  return cast(apply(E.Identity, [{ scalar: d }]), dtype);
}
