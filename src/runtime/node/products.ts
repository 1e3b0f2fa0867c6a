import type { TensorData } from "../../core/tensor.ts";
import { TensorProto_DataType as DataType } from "../../onnx/onnx_pb.ts";
import type { Session } from "../session.ts";
import { probe } from "./probe.ts";

/**
 * Whether u8 x i8 products are exact. Without VNNI, ONNX Runtime's kernels add them in pairs in 16 bits, which
 * overflow. u8 x u8 products, by the session option `session.x64quantprecision`, do not, but where there is VNNI
 * they take 3.6 times as long.
 */

const [LENGTH, COLUMNS] = [64, 16];

/** A model of one product: `a` u8 [1, 64] times `b` i8 [64, 16], unscaled, makes `y`. */
export const PRODUCT_PROBE: Uint8Array = probe(
  {
    opType: "MatMulIntegerToFloat",
    input: ["a", "b", "a scale", "b scales", "a zero"],
    output: ["y"],
    attribute: [],
  },
  [
    ["a", DataType.UINT8, [1, LENGTH]],
    ["b", DataType.INT8, [LENGTH, COLUMNS]],
    ["a scale", DataType.FLOAT, []],
    ["b scales", DataType.FLOAT, [COLUMNS]],
    ["a zero", DataType.UINT8, []],
    ["y", DataType.FLOAT, [1, COLUMNS]],
  ],
);

/** Whether a session of {@link PRODUCT_PROBE} adds the largest products rightly. */
export async function multipliesExactly(session: Session): Promise<boolean> {
  const f32 = (shape: number[], data: Float32Array): TensorData => ({ dtype: "f32", shape, data });
  const { y } = await session.run(
    {
      a: { dtype: "u8", shape: [1, LENGTH], data: new Uint8Array(LENGTH).fill(255) },
      b: { dtype: "i8", shape: [LENGTH, COLUMNS], data: new Int8Array(LENGTH * COLUMNS).fill(127) },
      "a scale": f32([], Float32Array.of(1)),
      "b scales": f32([COLUMNS], new Float32Array(COLUMNS).fill(1)),
      "a zero": { dtype: "u8", shape: [], data: Uint8Array.of(0) },
    },
    { y: "fresh" },
  );
  return y?.dtype === "f32" && y.data.every((sum) => sum === LENGTH * 255 * 127);
}
