import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { DTYPE_BYTES } from "../core/dtype.ts";
import { OryxError, quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { StoredTensor } from "../core/tensor.ts";

import { withFile } from "./files.ts";
import { SAFETENSORS_DTYPES } from "./safetensors.ts";
import { storedBytes, tensorBytes } from "./stored.ts";

const DTYPE_NAMES = new Map([...SAFETENSORS_DTYPES].map(([name, dtype]) => [dtype, name]));

/** Bytes copied at a time from another file. */
const CHUNK_BYTES = 4 * 2 ** 20;

/**
 * Writes a safetensors file: first beside its place under another name, then renamed, so that a reader sees the
 * old file or the whole new one. Tensors in files are streamed. Wide types come first (else in the given order)
 * behind a header padded to 8 bytes, so that every tensor is aligned to its elements.
 * @throws OryxError `bad_option` (bytes that do not fit the shape, a reserved name), `disk`, and whatever reading
 *   the sources throws; nothing is left behind
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  const ordered = [...tensors].sort(([, a], [, b]) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
  const header = safetensorsHeader(ordered, metadata);
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const handle = await open(temporary, "wx");
    try {
      await handle.writeFile(header);
      for (const [, tensor] of ordered) await writeBytes(handle, tensor.bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first error is the one to report
    if (error instanceof OryxError) throw error;
    const problem = `${path} could not be written (${(error as NodeJS.ErrnoException).code ?? error})`;
    throw new OryxError("disk", problem, "check the folder, its permissions and the free space", {
      cause: error,
    });
  }
}

/**
 * The 8 bytes of length and the JSON header of a file that holds the tensors in this order. Pure.
 * @param alignment what the header's size is padded to a multiple of; a multiple of 8
 */
export function safetensorsHeader(
  ordered: Iterable<readonly [string, StoredTensor]>,
  metadata?: Readonly<Record<string, string>>,
  alignment = 8,
): Uint8Array {
  const fields = metadata ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  let end = 0;
  for (const [name, tensor] of ordered) {
    checkTensor(name, tensor);
    const begin = end;
    end += storedBytes(tensor);
    const entry = { dtype: DTYPE_NAMES.get(tensor.dtype), shape: tensor.shape, data_offsets: [begin, end] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const length = Math.ceil((8 + json.length) / alignment) * alignment - 8;
  if (length > LIMITS.safetensorsHeaderBytes) {
    throw new OryxError("bad_option", `a header of ${length} bytes`, "write fewer tensors into one file");
  }
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

function checkTensor(name: string, tensor: StoredTensor): void {
  const fail = (problem: string) =>
    new OryxError("bad_option", `tensor ${quote(name)} ${problem}`, "mend the caller");
  if (name === "__metadata__") throw fail("has a name that the format reserves");
  if (tensor.shape.length > LIMITS.tensorRank) throw fail(`has ${tensor.shape.length} dimensions`);
  if (tensor.shape.some((dim) => !Number.isSafeInteger(dim) || dim < 0))
    throw fail(`has shape [${tensor.shape}]`);
  if (tensorBytes(tensor.shape, tensor.dtype) !== storedBytes(tensor)) {
    throw fail(`has ${storedBytes(tensor)} bytes, which do not hold ${tensor.dtype} [${tensor.shape}]`);
  }
}

async function writeBytes(handle: FileHandle, bytes: StoredTensor["bytes"]): Promise<void> {
  if (bytes instanceof Uint8Array) return handle.writeFile(bytes);
  await withFile(bytes.path, async (source) => {
    const stop = bytes.offset + bytes.byteLength;
    for (let at = bytes.offset; at < stop; at += CHUNK_BYTES) {
      await handle.writeFile(await source.read(at, Math.min(CHUNK_BYTES, stop - at)));
    }
  });
}
