import { type Dim, sameDim } from "../dim.ts";
import { apply, broadcast, intAttribute, mismatch, sameDType, tensorAt } from "../infer.ts";
import type { Op, Operand, Tensor } from "../tensor.ts";

/** Matrix products over the last two axes; the axes before them broadcast. */

function productShape(op: string, operands: readonly Operand[], transB: boolean): readonly Dim[] {
  sameDType(op, operands);
  const a = tensorAt(op, operands, 0);
  const b = tensorAt(op, operands, 1);
  if (a.rank < 2 || b.rank < 2) throw mismatch(op, operands, "both need two axes or more");
  const [k, n] = transB ? [b.dim(-1), b.dim(-2)] : [b.dim(-2), b.dim(-1)];
  if (!sameDim(a.dim(-1), k)) throw mismatch(op, operands, `${a.dim(-1)} != ${k}`);
  const batch = broadcast(op, operands, a.shape.slice(0, -2), b.shape.slice(0, -2));
  return [...batch, a.dim(-2), n];
}

const MatMul: Op = {
  name: "MatMul",
  domain: "",
  infer: (operands) => [
    { dtype: tensorAt("MatMul", operands, 0).dtype, shape: productShape("MatMul", operands, false) },
  ],
};

/** ONNX Runtime's product that reads its second operand transposed where it lies. */
const FusedMatMul: Op = {
  name: "FusedMatMul",
  domain: "com.microsoft",
  infer(operands, attributes) {
    const shape = productShape("FusedMatMul", operands, intAttribute(attributes, "transB") === 1);
    return [{ dtype: tensorAt("FusedMatMul", operands, 0).dtype, shape }];
  },
};

export const matmulOps = { MatMul, FusedMatMul } as const;

/** a [.., m, k] x b [.., k, n] -> [.., m, n] */
export const matmul = (a: Tensor, b: Tensor) => apply(MatMul, [a, b]);

/** a [.., m, k] x b [.., n, k] transposed -> [.., m, n]; b is never copied. */
export const matmulTransposed = (a: Tensor, b: Tensor) => apply(FusedMatMul, [a, b], { transB: { int: 1 } });
