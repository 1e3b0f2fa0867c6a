import type { ByteSource } from "../../src/weights/source.ts";

/** Bytes in memory as a source. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  const at = (offset: number, length: number) => bytes.subarray(offset, offset + length);
  return { name, size: bytes.length, at, read: async (offset, length) => at(offset, length) };
}
