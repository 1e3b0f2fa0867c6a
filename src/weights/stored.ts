import { DTYPE_BYTES, type DType } from "../core/dtype.ts";
import type { StoredTensor, TensorData } from "../core/tensor.ts";

/** Bytes that a tensor takes, or undefined when the product leaves the integers that a number holds exactly. */
export function tensorBytes(shape: readonly number[], dtype: DType): number | undefined {
  let bytes = DTYPE_BYTES[dtype];
  for (const dim of shape) {
    bytes *= dim;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

/** Bytes that a stored tensor takes where it lies. */
export function storedBytes(stored: StoredTensor): number {
  return stored.bytes.byteLength;
}

/** A tensor in memory as a stored one: a view of the same bytes, not a copy. */
export function asStored(tensor: TensorData): StoredTensor {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return { dtype: tensor.dtype, shape: tensor.shape, bytes: new Uint8Array(buffer, byteOffset, byteLength) };
}

/** Raw bytes as the tensor they hold. Views them where their alignment allows, else copies. */
export function asTensor(dtype: DType, shape: readonly number[], bytes: Uint8Array): TensorData {
  const aligned = bytes.byteOffset % DTYPE_BYTES[dtype] === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset } = aligned;
  const length = aligned.byteLength / DTYPE_BYTES[dtype];
  switch (dtype) {
    case "f32":
      return { dtype, shape, data: new Float32Array(buffer, byteOffset, length) };
    case "f64":
      return { dtype, shape, data: new Float64Array(buffer, byteOffset, length) };
    case "f16":
    case "bf16":
      return { dtype, shape, data: new Uint16Array(buffer, byteOffset, length) };
    case "i8":
      return { dtype, shape, data: new Int8Array(buffer, byteOffset, length) };
    case "i32":
      return { dtype, shape, data: new Int32Array(buffer, byteOffset, length) };
    case "i64":
      return { dtype, shape, data: new BigInt64Array(buffer, byteOffset, length) };
    case "u8":
    case "bool":
      return { dtype, shape, data: new Uint8Array(buffer, byteOffset, length) };
  }
}
