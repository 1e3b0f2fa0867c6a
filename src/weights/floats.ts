import type { DType } from "../core/dtype.ts";
import { OryxError } from "../core/errors.ts";
import { asTensor } from "./stored.ts";

/**
 * Elements of any floating type as f32. Exact for bf16 and f16; f64 is rounded to the nearest f32.
 * @param bytes raw little-endian elements, at any alignment; an f32 result may view them
 * @throws OryxError `weights_mismatch` for integers and booleans, which are no weights
 */
export function toFloat32(bytes: Uint8Array, dtype: DType): Float32Array {
  const tensor = asTensor(dtype, [], bytes);
  switch (tensor.dtype) {
    case "f32":
      return tensor.data;
    case "f64":
      return Float32Array.from(tensor.data);
    case "bf16":
      return fromBfloat16(tensor.data);
    case "f16":
      return fromFloat16(tensor.data);
    default:
      throw new OryxError(
        "weights_mismatch",
        `a tensor of ${dtype} stands where weights are needed`,
        "use weights stored as f32, bf16 or f16",
      );
  }
}

/** bf16 is the upper half of an f32. @param values takes the result; as long as `words` */
export function fromBfloat16(
  words: Uint16Array,
  values: Float32Array = new Float32Array(words.length),
): Float32Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) bits[i] = words[i]! << 16;
  return values;
}

/**
 * f16 has 5 bits of exponent, f32 has 8. Shifted into place, the exponent is 112 too small; multiplying by 2^112
 * mends it, for subnormal numbers too, exactly. Infinity and NaN need their exponent set to all ones instead.
 */
export function fromFloat16(words: Uint16Array): Float32Array {
  const values = new Float32Array(words.length);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    bits[i] = (word & 0x7fff) << 13;
    if ((word & 0x7c00) === 0x7c00) bits[i]! |= 0x7f800000;
    else values[i]! *= 2 ** 112;
    bits[i]! |= (word & 0x8000) << 16;
  }
  return values;
}

/** f32 to bf16, to nearest, ties to even. NaN stays NaN. */
export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const words = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    const notANumber = (b & 0x7fffffff) > 0x7f800000;
    // Half of the dropped part, less one unless the kept part is odd; a NaN's payload must not carry into infinity.
    words[i] = notANumber ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return words;
}

/** f32 to f16, to nearest, ties to even; from 65520 on to infinity. NaN stays NaN. */
export function toFloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const words = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i]! >>> 16) & 0x8000;
    words[i] = sign | float16Magnitude(bits[i]! & 0x7fffffff);
  }
  return words;
}

/** The 15 lower bits of an f16 from the 31 lower bits of an f32. */
function float16Magnitude(b: number): number {
  if (b > 0x7f800000) return 0x7e00;
  if (b >= 0x47800000) return 0x7c00; // 65536 and more
  if (b >= 0x38800000) {
    // Normal: rebias the exponent, round away 13 bits; a carry runs into the exponent, up to infinity, as it should.
    return (b - 0x38000000 + 0xfff + ((b >>> 13) & 1)) >>> 13;
  }
  const shift = 126 - (b >>> 23);
  if (shift > 24) return 0; // below half of the smallest subnormal
  const mantissa = (b & 0x7fffff) | 0x800000;
  const kept = mantissa >>> shift;
  const dropped = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return kept + (dropped > half || (dropped === half && (kept & 1) === 1) ? 1 : 0);
}
