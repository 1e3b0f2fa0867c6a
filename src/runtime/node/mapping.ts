import { closeSync, fstatSync, openSync, readSync, realpathSync } from "node:fs";
import koffi from "koffi";
import { OryxError } from "../../core/errors.ts";
import type { FileRange } from "../../core/tensor.ts";
import type { Native } from "./ort.ts";

/** A whole file in the address space, read-only: its pages are read when touched and cost no memory of ours. */
interface Mapping {
  address: bigint;
  byteLength: number;
  unmap(): void;
}

/**
 * Maps each file at most once. Files must not be truncated while they are mapped: the operating system ends a
 * process that touches pages which are gone.
 */
export class FileMappings {
  readonly #mappings = new Map<string, Mapping>();

  /** Address of the first byte of `range`. @throws OryxError `weights_missing`, `weights_malformed`. */
  addressOf(range: FileRange): bigint {
    const path = realPath(range.path);
    let mapping = this.#mappings.get(path);
    if (!mapping) {
      mapping = mapFile(path);
      this.#mappings.set(path, mapping);
    }
    const end = range.offset + range.byteLength;
    if (!(range.offset >= 0 && range.byteLength >= 0 && end <= mapping.byteLength)) {
      throw new OryxError(
        "weights_malformed",
        `${path} has ${mapping.byteLength} bytes, but a tensor lies at ${range.offset} to ${end}`,
        "download the file again",
      );
    }
    return mapping.address + BigInt(range.offset);
  }

  /** Unmaps every file; addresses given out before are dead. A second call does nothing. */
  close(): void {
    const mappings = [...this.#mappings.values()];
    this.#mappings.clear();
    for (const mapping of mappings) mapping.unmap();
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch (cause) {
    throw new OryxError("weights_missing", `there is no weight file ${path}`, "check the model folder", { cause });
  }
}

function mapFile(path: string): Mapping {
  const file = openSync(path, "r");
  try {
    const byteLength = fstatSync(file).size;
    if (byteLength === 0) return { address: 0n, byteLength, unmap() {} };
    return process.platform === "win32" ? mapOnWindows(path, byteLength) : mapOnPosix(file, path, byteLength);
  } finally {
    closeSync(file);
  }
}

function mapOnPosix(file: number, path: string, byteLength: number): Mapping {
  const libc = koffi.load(null);
  const mmap = libc.func("mmap", "intptr_t", ["void *", "size_t", "int", "int", "int", "int64_t"]);
  const munmap = libc.func("munmap", "int", ["void *", "size_t"]);
  const readOnly = 1;
  const isPrivate = 2;
  const address = BigInt(mmap(null, byteLength, readOnly, isPrivate, file, 0));
  if (address === -1n) throw unmappable(path, `mmap: errno ${koffi.errno()}`);
  return { address, byteLength, unmap: () => void munmap(address, byteLength) };
}

function mapOnWindows(path: string, byteLength: number): Mapping {
  const kernel = koffi.load("kernel32.dll");
  const win = (name: string, result: string, args: string[]): ((...values: Native[]) => unknown) =>
    kernel.func("__stdcall", name, result, args);
  const createFile = win("CreateFileW", "intptr_t", [
    "str16",
    "uint32_t",
    "uint32_t",
    "void *",
    "uint32_t",
    "uint32_t",
    "void *",
  ]);
  const createMapping = win("CreateFileMappingW", "intptr_t", [
    "intptr_t",
    "void *",
    "uint32_t",
    "uint32_t",
    "uint32_t",
    "void *",
  ]);
  const mapView = win("MapViewOfFile", "intptr_t", ["intptr_t", "uint32_t", "uint32_t", "uint32_t", "size_t"]);
  const unmapView = win("UnmapViewOfFile", "int", ["void *"]);
  const closeHandle = win("CloseHandle", "int", ["intptr_t"]);
  const lastError = win("GetLastError", "uint32_t", []);

  const genericRead = 0x80000000;
  const shareRead = 1;
  const openExisting = 3;
  const file = createFile(path, genericRead, shareRead, null, openExisting, 0, null) as number | bigint;
  if (BigInt(file) === -1n) throw unmappable(path, `CreateFile: error ${lastError()}`);
  const pageReadOnly = 2;
  const section = createMapping(file, null, pageReadOnly, 0, 0, null) as number | bigint;
  const mapRead = 4;
  const address = BigInt(section) === 0n ? 0n : BigInt(mapView(section, mapRead, 0, 0, 0) as number | bigint);
  const failed = address === 0n ? lastError() : 0;
  // The view keeps its section and file alive.
  if (BigInt(section) !== 0n) closeHandle(section);
  closeHandle(file);
  if (address === 0n) throw unmappable(path, `MapViewOfFile: error ${failed}`);
  return { address, byteLength, unmap: () => void unmapView(address) };
}

function unmappable(path: string, why: string): OryxError {
  return new OryxError(
    "weights_missing",
    `${path} could not be mapped into memory (${why})`,
    "copy the model to a local disk",
  );
}
