/** Element types of tensors, named as the field abbreviates them. */
export type DType = "f32" | "f64" | "f16" | "bf16" | "i8" | "u8" | "i32" | "i64" | "bool";

/** Bytes of one element. */
export const DTYPE_BYTES: Readonly<Record<DType, number>> = {
  f32: 4,
  f64: 8,
  f16: 2,
  bf16: 2,
  i8: 1,
  u8: 1,
  i32: 4,
  i64: 8,
  bool: 1,
};

/** ONNX's and ONNX Runtime's numbers for element types (TensorProto.DataType). */
export const ONNX_DTYPE: Readonly<Record<DType, number>> = {
  f32: 1,
  u8: 2,
  i8: 3,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  f64: 11,
  bf16: 16,
};

/** The typed array whose memory holds elements of each type; f16 and bf16 are raw 16-bit words. */
export interface DTypeArrays {
  f32: Float32Array;
  f64: Float64Array;
  f16: Uint16Array;
  bf16: Uint16Array;
  i8: Int8Array;
  u8: Uint8Array;
  i32: Int32Array;
  i64: BigInt64Array;
  bool: Uint8Array;
}

export type TypedArray = DTypeArrays[DType];
