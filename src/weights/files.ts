import { type FileHandle, open, stat } from "node:fs/promises";
import { type ErrorCode, OryxError } from "../core/errors.ts";
import type { FileRange, StoredTensor, TensorData } from "../core/tensor.ts";
import { malformed } from "./faults.ts";
import { toFloat32 } from "./floats.ts";
import { isObject, type JsonLimits, type JsonObject, parseJson } from "./json.ts";
import type { ByteSource } from "./source.ts";
import { asTensor, tensorBytes } from "./stored.ts";

/** One read call's bytes: Node refuses 2 GiB and more in one. */
const READ_BYTES = 2 ** 30;

/** Opens a file as a source, for as long as `use` runs. Only regular files: a pipe could block for ever. */
export async function withFile<T>(path: string, use: (source: ByteSource) => Promise<T>): Promise<T> {
  const handle = await openRegular(path);
  try {
    const { size } = await handle.stat();
    const read = (offset: number, length: number) =>
      readExactly(handle, { path, offset, byteLength: length });
    const at = (offset: number, byteLength: number): FileRange => ({ path, offset, byteLength });
    return await use({ name: path, size, read, at });
  } finally {
    await handle.close();
  }
}

/** True when a regular file lies at the path. */
export async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

/**
 * Reads one tensor into fresh memory.
 * @throws OryxError `weights_malformed` when its range is not inside the file or not of the size its shape needs,
 *   `model_missing` when the file is gone
 */
export async function loadTensor(stored: StoredTensor): Promise<TensorData> {
  const { dtype, shape, bytes } = stored;
  const file = bytes instanceof Uint8Array ? "memory" : bytes.path;
  if (tensorBytes(shape, dtype) !== bytes.byteLength) {
    throw malformed(file, `${bytes.byteLength} bytes do not hold ${dtype} [${shape}]`);
  }
  if (bytes instanceof Uint8Array) return asTensor(dtype, shape, bytes.slice());
  return withFile(bytes.path, async (source) => {
    if (bytes.offset + bytes.byteLength > source.size) throw malformed(file, "the file has become shorter");
    return asTensor(dtype, shape, await source.read(bytes.offset, bytes.byteLength));
  });
}

/** Reads one tensor of any floating type as f32. @throws as {@link loadTensor}, and `weights_mismatch` */
export async function loadFloat32(stored: StoredTensor): Promise<Float32Array> {
  const { data, dtype } = await loadTensor(stored);
  return toFloat32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), dtype);
}

/** Reads a small JSON file that must hold an object; what is wrong with its text is reported under `code`. */
export async function readJsonObject(
  path: string,
  maxBytes: number,
  code: ErrorCode,
  limits: JsonLimits,
): Promise<JsonObject> {
  const fail = (problem: string, cause?: unknown) =>
    new OryxError(code, `${path}: ${problem}`, "download the file again, or mend it", { cause });
  return withFile(path, async (source) => {
    if (source.size > maxBytes) throw fail(`${source.size} bytes are more than the ${maxBytes} allowed`);
    const bytes = await source.read(0, source.size);
    try {
      const json = parseJson(bytes, limits);
      if (isObject(json)) return json;
    } catch (error) {
      throw fail(`not valid JSON: ${error instanceof Error ? error.message : error}`, error);
    }
    throw fail("not a JSON object");
  });
}

async function openRegular(path: string): Promise<FileHandle> {
  try {
    if ((await stat(path)).isFile()) return await open(path, "r");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new OryxError("model_missing", `there is no file ${path}`, "check the path", { cause: error });
    }
    throw malformed(path, `cannot be opened (${code ?? error})`, error);
  }
  throw malformed(path, "not a regular file");
}

async function readExactly(handle: FileHandle, range: FileRange): Promise<Uint8Array> {
  const bytes = new Uint8Array(range.byteLength);
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(bytes.length - done, READ_BYTES);
    const { bytesRead } = await handle.read(bytes, done, length, range.offset + done).catch((error) => {
      throw malformed(range.path, "cannot be read", error);
    });
    if (bytesRead === 0) throw malformed(range.path, "the file has become shorter");
    done += bytesRead;
  }
  return bytes;
}
