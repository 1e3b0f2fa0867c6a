import koffi from "koffi";
import { DTYPE_BYTES, type DType, ONNX_DTYPE, type TypedArray } from "../../core/dtype.ts";
import { OryxError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import type { TensorData } from "../../core/tensor.ts";
import { elementCount } from "../../core/tensor.ts";
import type { Handle, Ort } from "./ort.ts";

const ARRAY_OF = {
  f32: Float32Array,
  f64: Float64Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i8: Int8Array,
  u8: Uint8Array,
  i32: Int32Array,
  i64: BigInt64Array,
  bool: Uint8Array,
} as const;

/** Memory for one pointer or size that a C function writes. */
export function outSlot(): BigUint64Array {
  return new BigUint64Array(new ArrayBuffer(8));
}

/** A zero-terminated UTF-8 string in memory that does not move. */
export function cString(text: string): Uint8Array {
  const encoded = new TextEncoder().encode(text);
  const terminated = new Uint8Array(new ArrayBuffer(encoded.length + 1));
  terminated.set(encoded);
  return terminated;
}

/** Makes and reads ONNX Runtime's tensors. Not for use from several threads; one per session or load. */
export class TensorBridge {
  readonly #ort: Ort;
  readonly #memoryInfo: Handle;
  readonly #slot = outSlot();
  readonly #shape = new BigInt64Array(LIMITS.tensorRank);
  /** An empty typed array has no address, and ONNX Runtime wants one. */
  readonly #nowhere = new Uint8Array(64);

  /** `memoryInfo` describes CPU memory, and stays the caller's to release. */
  constructor(ort: Ort, memoryInfo: Handle) {
    this.#ort = ort;
    this.#memoryInfo = memoryInfo;
  }

  /** An OrtValue over the memory of `tensor`, which must outlive it; release it with `ReleaseValue`. */
  overData(tensor: TensorData, name: string): Handle {
    const { dtype, shape, data } = tensor;
    if (data.BYTES_PER_ELEMENT !== DTYPE_BYTES[dtype] || data.length !== elementCount(shape)) {
      throw misfit(name, `${dtype} [${shape}]`, `${data.byteLength} bytes of memory`);
    }
    return this.overMemory(data, data.byteLength, dtype, shape, name);
  }

  /** An OrtValue over the first `byteLength` bytes of `memory`, which must outlive it. */
  overMemory(
    memory: TypedArray,
    byteLength: number,
    dtype: DType,
    shape: readonly number[],
    name: string,
  ): Handle {
    if (shape.length > LIMITS.tensorRank || !shape.every((d) => Number.isSafeInteger(d) && d >= 0)) {
      throw misfit(name, `[${shape}]`, `at most ${LIMITS.tensorRank} whole, non-negative dimensions`);
    }
    for (let i = 0; i < shape.length; i++) this.#shape[i] = BigInt(shape[i]!);
    this.#ort.CreateTensorWithDataAsOrtValue(
      this.#memoryInfo,
      byteLength === 0 ? this.#nowhere : memory,
      byteLength,
      this.#shape,
      shape.length,
      ONNX_DTYPE[dtype],
      this.#slot,
    );
    return this.#slot[0]!;
  }

  /** Copies a tensor that ONNX Runtime allocated into fresh memory. */
  read(value: Handle, name: string): TensorData {
    const { dtype, shape } = this.#typeAndShape(value, name);
    const byteLength = elementCount(shape) * DTYPE_BYTES[dtype];
    if (byteLength === 0) return { dtype, shape, data: new ARRAY_OF[dtype](0) } as TensorData;
    this.#ort.GetTensorMutableData(value, this.#slot);
    const copy = koffi.view(this.#slot[0]!, byteLength).slice(0);
    return { dtype, shape, data: new ARRAY_OF[dtype](copy) } as TensorData;
  }

  #typeAndShape(value: Handle, name: string): { dtype: DType; shape: number[] } {
    const ort = this.#ort;
    const number = new Int32Array(new ArrayBuffer(4));
    ort.IsTensor(value, number);
    if (number[0] === 0) throw misfit(name, "a sequence or map", "a tensor");
    ort.GetTensorTypeAndShape(value, this.#slot);
    const info = this.#slot[0]!;
    try {
      ort.GetTensorElementType(info, number);
      const known = Object.entries(ONNX_DTYPE).find(([, code]) => code === number[0]);
      if (!known) throw misfit(name, `of element type ${number[0]}`, "an element type of this project");
      ort.GetDimensionsCount(info, this.#slot);
      const shape = new BigInt64Array(Number(this.#slot[0]));
      if (shape.length > 0) ort.GetDimensions(info, shape, shape.length);
      return { dtype: known[0] as DType, shape: Array.from(shape, Number) };
    } finally {
      ort.ReleaseTensorTypeAndShapeInfo(info);
    }
  }
}

function misfit(name: string, is: string, wanted: string): OryxError {
  return new OryxError(
    "runtime_failed",
    `tensor "${name}" is ${is}, which does not fit ${wanted}`,
    "give a shape whose product is the number of elements, and the typed array of its element type",
  );
}
