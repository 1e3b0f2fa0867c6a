import type { DType } from "../core/dtype.ts";
import type { FileRange, StoredTensor } from "../core/tensor.ts";
import { safetensorsHeader } from "../weights/safetensors-write.ts";
import { tensorBytes } from "../weights/stored.ts";

/** A tensor that a file is to hold. */
export interface Wanted {
  name: string;
  dtype: DType;
  shape: readonly number[];
}

/** A tensor's place in a file of the converted folder. */
export interface Place extends Wanted {
  /** Name of the file. */
  file: string;
  /** First byte, counted from the file's beginning. */
  offset: number;
  bytes: number;
}

/** A weight file before any tensor is in it. */
export interface FileLayout {
  name: string;
  /** The first bytes of the file. */
  header: Uint8Array;
  /** All bytes of the file. */
  bytes: number;
  places: Place[];
}

/** Cache lines, and what vector loads like best. */
const ALIGNMENT = 64;

/**
 * Lays tensors out in a safetensors file. The format allows no holes, so those whose size keeps what follows
 * aligned come first: every tensor lies at a multiple of 64 bytes, or of the largest power of two in its size.
 */
export function layoutFile(name: string, tensors: readonly Wanted[]): FileLayout {
  const sized = tensors.map((tensor) => ({
    ...tensor,
    bytes: tensorBytes(tensor.shape, tensor.dtype) as number,
  }));
  const ordered = sized.sort((a, b) => evenness(b.bytes) - evenness(a.bytes));
  const stored = ordered.map(({ name, dtype, shape, bytes }): [string, StoredTensor] => {
    const unread: FileRange = { path: name, offset: 0, byteLength: bytes };
    return [name, { dtype, shape, bytes: unread }];
  });
  const header = safetensorsHeader(stored, undefined, ALIGNMENT);
  let end = header.length;
  const places = ordered.map((tensor): Place => {
    const offset = end;
    end += tensor.bytes;
    return { ...tensor, file: name, offset };
  });
  return { name, header, bytes: end, places };
}

/** The largest power of two that divides a size, at most the alignment. */
function evenness(bytes: number): number {
  let power = ALIGNMENT;
  while (bytes % power !== 0) power /= 2;
  return power;
}
