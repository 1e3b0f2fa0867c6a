import type { FileRange } from "../core/tensor.ts";

/**
 * Bytes that a reader may look into at any place, without loading them all: a file in Node, memory in a test, a
 * Blob in a browser. The readers of this layer know nothing else of where bytes come from.
 */
export interface ByteSource {
  /** For messages: a path. */
  readonly name: string;
  /** Bytes in all. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`; the caller has checked that they lie inside `size`. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** The same range, unread, as a stored tensor refers to it. */
  at(offset: number, length: number): FileRange | Uint8Array;
}
