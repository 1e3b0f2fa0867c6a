import type { DType } from "../core/dtype.ts";
import { quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { malformed, unsupported } from "./faults.ts";
import { withFile } from "./files.ts";
import { isObject, type Json, JsonError, type JsonObject, parseJson } from "./json.ts";
import type { ByteSource } from "./source.ts";
import { tensorBytes } from "./stored.ts";

/** The format's names of element types, for those that are read and written here. */
export const SAFETENSORS_DTYPES: ReadonlyMap<string, DType> = new Map([
  ["F64", "f64"],
  ["F32", "f32"],
  ["F16", "f16"],
  ["BF16", "bf16"],
  ["I64", "i64"],
  ["I32", "i32"],
  ["I8", "i8"],
  ["U8", "u8"],
  ["BOOL", "bool"],
]);

/** What a tensor of the highest rank costs the JSON reader: two objects' worth of keys, sizes and offsets. */
const VALUES_PER_TENSOR = 50;

/** One tensor of a header. */
export interface SafetensorsEntry {
  dtype: DType;
  shape: readonly number[];
  /** First byte and byte after the last, counted from the end of the header. */
  begin: number;
  end: number;
}

export interface SafetensorsHeader {
  tensors: Map<string, SafetensorsEntry>;
  metadata: Map<string, string>;
}

/**
 * Reads a file's header; the tensors' bytes stay where they are.
 * @returns the tensors by name, in the header's order
 * @throws OryxError `weights_malformed`, `weights_unsupported` (an element type not in the table above),
 *   `model_missing`
 * @see https://huggingface.co/docs/safetensors for the format
 */
export function readSafetensors(path: string): Promise<Map<string, StoredTensor>> {
  return withFile(path, readSafetensorsFrom);
}

/** {@link readSafetensors} for bytes that lie anywhere. */
export async function readSafetensorsFrom(source: ByteSource): Promise<Map<string, StoredTensor>> {
  const length = await headerLength(source);
  const dataStart = 8 + length;
  const header = parseSafetensorsHeader(await source.read(8, length), source.size - dataStart, source.name);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, begin, end }] of header.tensors) {
    tensors.set(name, { dtype, shape, bytes: source.at(dataStart + begin, end - begin) });
  }
  return tensors;
}

/** The header's length, from the first 8 bytes, checked before anything of that size is allocated. */
async function headerLength(source: ByteSource): Promise<number> {
  if (source.size < 8) throw malformed(source.name, "too short for a safetensors file");
  const bytes = await source.read(0, 8);
  const declared = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (declared > BigInt(LIMITS.safetensorsHeaderBytes)) {
    throw malformed(source.name, `the header claims ${declared} bytes`);
  }
  const length = Number(declared);
  if (8 + length > source.size) throw malformed(source.name, "the header reaches beyond the end of the file");
  return length;
}

/**
 * Parses a header and checks it against the bytes of data that follow it. Pure: no file is touched.
 * @param bytes the JSON text, without the 8 bytes of its length
 * @param dataBytes bytes between the header and the end of the file; the tensors must cover exactly these
 * @throws OryxError `weights_malformed`, `weights_unsupported`
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  dataBytes: number,
  file: string,
): SafetensorsHeader {
  const json = headerObject(bytes, file);
  const tensors = new Map<string, SafetensorsEntry>();
  let metadata = new Map<string, string>();
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") metadata = parseMetadata(value, file);
    else tensors.set(name, parseEntry(name, value, file));
  }
  if (tensors.size > LIMITS.tensorsPerFile) throw malformed(file, `${tensors.size} tensors`);
  checkLayout(tensors, dataBytes, file);
  return { tensors, metadata };
}

function headerObject(bytes: Uint8Array, file: string): JsonObject {
  // The format wants the brace at once; spaces may only follow.
  if (bytes[0] !== 0x7b) throw malformed(file, "the header does not begin with {");
  const limits = {
    maxValues: VALUES_PER_TENSOR * LIMITS.tensorsPerFile,
    maxTextBytes: LIMITS.jsonTextBytes,
    naturalsOnly: true,
  };
  try {
    return parseJson(bytes, limits) as JsonObject;
  } catch (error) {
    if (error instanceof JsonError) throw malformed(file, `the header is not valid: ${error.message}`, error);
    throw error;
  }
}

function parseMetadata(value: Json, file: string): Map<string, string> {
  if (!isObject(value)) throw malformed(file, "__metadata__ is not an object");
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") throw malformed(file, `__metadata__ ${quote(key)} is not a string`);
    metadata.set(key, text);
  }
  return metadata;
}

function parseEntry(name: string, value: Json, file: string): SafetensorsEntry {
  const fail = (problem: string) => malformed(file, `tensor ${quote(name)}: ${problem}`);
  if (!isObject(value)) throw fail("not an object");
  const { dtype: dtypeName, shape, data_offsets: offsets, ...rest } = value;
  const surplus = Object.keys(rest)[0];
  if (surplus !== undefined) throw fail(`unknown field ${quote(surplus)}`);
  if (typeof dtypeName !== "string") throw fail("no dtype");
  const dtype = SAFETENSORS_DTYPES.get(dtypeName);
  if (!dtype) {
    throw unsupported(
      file,
      `tensor ${quote(name)} has type ${quote(dtypeName)}`,
      "use a f32, bf16 or f16 copy",
    );
  }
  if (!isNaturals(shape)) throw fail("its shape is not a list of sizes");
  if (shape.length > LIMITS.tensorRank) throw fail(`${shape.length} dimensions`);
  if (!isNaturals(offsets) || offsets.length !== 2) throw fail("its data_offsets are not two places");
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw fail("it ends before it begins");
  const expected = tensorBytes(shape, dtype);
  if (expected !== end - begin) throw fail(`${end - begin} bytes do not hold ${dtypeName} [${shape}]`);
  return { dtype, shape, begin, end };
}

function isNaturals(value: Json | undefined): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item));
}

/** The tensors must lie end to end, from the first byte of data to the last. */
function checkLayout(tensors: ReadonlyMap<string, SafetensorsEntry>, dataBytes: number, file: string): void {
  const inOrder = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  for (const [name, entry] of inOrder) {
    if (entry.begin !== end) {
      const what = entry.begin < end ? "overlaps the tensor before it" : "leaves a hole before it";
      throw malformed(file, `tensor ${quote(name)} ${what}`);
    }
    end = entry.end;
  }
  if (end !== dataBytes) {
    throw malformed(file, `the tensors take ${end} bytes, but ${dataBytes} bytes follow the header`);
  }
}
