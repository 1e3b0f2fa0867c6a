import { quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { malformed, unsupported } from "./faults.ts";
import type { ByteSource } from "./source.ts";

/**
 * The part of ZIP that PyTorch writes: one disk, members stored without compression, zip64 for what is large.
 * Nothing is ever extracted to a path; members are found by name and read in place.
 * Field offsets below are those of APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16.
 */
export interface ZipMember {
  name: string;
  size: number;
  /** Where the member's own header lies; its data follow behind a name and padding of their own lengths. */
  headerOffset: number;
}

/** Where the directory of members lies. */
interface Directory {
  offset: number;
  size: number;
  count: number;
}

const END_SIGNATURE = 0x06054b50;
const END_BYTES = 22;
const END64_SIGNATURE = 0x06064b50;
const END64_BYTES = 56;
const LOCATOR_SIGNATURE = 0x07064b50;
const LOCATOR_BYTES = 20;
const ENTRY_SIGNATURE = 0x02014b50;
const ENTRY_BYTES = 46;
const LOCAL_SIGNATURE = 0x04034b50;
const LOCAL_BYTES = 30;
const ENCRYPTED = 0x2041;
const ALL_ONES_16 = 0xffff;
const ALL_ONES_32 = 0xffffffff;

/** True when the bytes begin as a zip file with at least one member does. */
export function looksLikeZip(first: Uint8Array): boolean {
  return first.length >= 4 && viewOf(first).getUint32(0, true) === LOCAL_SIGNATURE;
}

/** Lists a zip file's members by name. @throws OryxError `weights_malformed`, `weights_unsupported` */
export async function readZip(source: ByteSource): Promise<Map<string, ZipMember>> {
  const directory = await findDirectory(source);
  return parseDirectory(await source.read(directory.offset, directory.size), directory, source.name);
}

/** Where a member's data begin, from its own header, which must agree with the directory. */
export async function memberData(source: ByteSource, member: ZipMember): Promise<number> {
  const fail = (problem: string) => malformed(source.name, `member ${quote(member.name)} ${problem}`);
  const { headerOffset } = member;
  const name = new TextEncoder().encode(member.name);
  if (headerOffset + LOCAL_BYTES + name.length > source.size) throw fail("lies beyond the end of the file");
  const bytes = await source.read(headerOffset, LOCAL_BYTES + name.length);
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== LOCAL_SIGNATURE) throw fail("has no header where the directory says");
  if (view.getUint16(8, true) !== 0) throw fail("is stored in the directory but compressed in its header");
  const nameBytes = view.getUint16(26, true);
  const sameName = nameBytes === name.length && name.every((byte, i) => byte === bytes[LOCAL_BYTES + i]);
  if (!sameName) throw fail("has another name in its header than in the directory");
  const offset = headerOffset + LOCAL_BYTES + nameBytes + view.getUint16(28, true);
  if (offset + member.size > source.size) throw fail("reaches beyond the end of the file");
  return offset;
}

async function findDirectory(source: ByteSource): Promise<Directory> {
  const fail = (problem: string) => malformed(source.name, problem);
  const tailBytes = Math.min(source.size, END_BYTES + ALL_ONES_16 + LOCATOR_BYTES);
  const tail = await source.read(source.size - tailBytes, tailBytes);
  const end = findEnd(tail);
  if (end === undefined) throw fail("the zip directory at the end is missing: the file is cut off");
  const view = viewOf(tail);
  const short = parseEnd(tail.subarray(end), source.name);
  let directory = short;
  let directoryEnd = source.size - tailBytes + end;
  // PyTorch writes the zip64 records always, also where the short fields would do.
  const locator = end - LOCATOR_BYTES;
  if (locator >= 0 && view.getUint32(locator, true) === LOCATOR_SIGNATURE) {
    directoryEnd = exactly(view.getBigUint64(locator + 8, true));
    if (directoryEnd + END64_BYTES > source.size)
      throw fail("the zip64 directory lies beyond the end of the file");
    directory = parseEnd64(await source.read(directoryEnd, END64_BYTES), source.name);
    if (!agree(short, directory)) throw fail("the two records of the zip directory contradict each other");
  }
  if (directory.count > LIMITS.zipMembers) throw fail(`${directory.count} zip members`);
  if (directory.size > LIMITS.zipDirectoryBytes) throw fail(`a zip directory of ${directory.size} bytes`);
  // Equality also refuses files with something before the zip, whose offsets would all be wrong.
  if (directory.offset + directory.size !== directoryEnd)
    throw fail("the zip directory is not where it claims");
  return directory;
}

/** The short end record. A field of all ones says that only the zip64 record knows. */
function parseEnd(bytes: Uint8Array, file: string): Directory {
  const view = viewOf(bytes);
  const count = view.getUint16(10, true);
  const disks = [view.getUint16(4, true), view.getUint16(6, true)];
  if (disks.some((disk) => disk !== 0 && disk !== ALL_ONES_16) || view.getUint16(8, true) !== count) {
    throw unsupported(file, "a zip file of several parts", "join the parts into one file");
  }
  return { count, size: view.getUint32(12, true), offset: view.getUint32(16, true) };
}

function agree(short: Directory, wide: Directory): boolean {
  return (
    (short.count === ALL_ONES_16 || short.count === wide.count) &&
    (short.size === ALL_ONES_32 || short.size === wide.size) &&
    (short.offset === ALL_ONES_32 || short.offset === wide.offset)
  );
}

/** Place of the end record in the file's last bytes; its comment must reach exactly to the end. */
function findEnd(tail: Uint8Array): number | undefined {
  const view = viewOf(tail);
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    if (view.getUint32(at, true) !== END_SIGNATURE) continue;
    if (at + END_BYTES + view.getUint16(at + 20, true) === tail.length) return at;
  }
  return undefined;
}

function parseEnd64(bytes: Uint8Array, file: string): Directory {
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== END64_SIGNATURE) throw malformed(file, "the zip64 directory is damaged");
  return {
    count: exactly(view.getBigUint64(32, true)),
    size: exactly(view.getBigUint64(40, true)),
    offset: exactly(view.getBigUint64(48, true)),
  };
}

/** Parses the directory; its entries must fill it exactly. */
function parseDirectory(bytes: Uint8Array, directory: Directory, file: string): Map<string, ZipMember> {
  const members = new Map<string, ZipMember>();
  let at = 0;
  for (let i = 0; i < directory.count; i++) {
    const length = entryBytes(bytes, at, file);
    const member = parseEntry(bytes.subarray(at, at + length), file);
    if (members.has(member.name)) throw malformed(file, `member ${quote(member.name)} occurs twice`);
    if (member.headerOffset + LOCAL_BYTES + member.size > directory.offset) {
      throw malformed(file, `member ${quote(member.name)} reaches beyond the data`);
    }
    members.set(member.name, member);
    at += length;
  }
  if (at !== bytes.length) throw malformed(file, "the zip directory has bytes that belong to no member");
  return members;
}

function entryBytes(bytes: Uint8Array, at: number, file: string): number {
  const view = viewOf(bytes);
  if (at + ENTRY_BYTES > bytes.length || view.getUint32(at, true) !== ENTRY_SIGNATURE) {
    throw malformed(file, "the zip directory has fewer members than it claims");
  }
  const variable = [28, 30, 32].reduce((sum, field) => sum + view.getUint16(at + field, true), 0);
  if (at + ENTRY_BYTES + variable > bytes.length) throw malformed(file, "a zip directory entry is cut off");
  return ENTRY_BYTES + variable;
}

function parseEntry(entry: Uint8Array, file: string): ZipMember {
  const view = viewOf(entry);
  const extraStart = ENTRY_BYTES + view.getUint16(28, true);
  const name = memberName(entry.subarray(ENTRY_BYTES, extraStart), file);
  if (view.getUint16(8, true) & ENCRYPTED) {
    throw unsupported(file, `member ${quote(name)} is encrypted`, "save the file without encryption");
  }
  const extra = entry.subarray(extraStart, extraStart + view.getUint16(30, true));
  const wide = zip64Fields(extra);
  const field = (value: number): number => (value === ALL_ONES_32 ? wide() : value);
  const size = field(view.getUint32(24, true));
  const compressed = field(view.getUint32(20, true));
  const headerOffset = field(view.getUint32(42, true));
  if (![size, compressed, headerOffset].every(Number.isSafeInteger)) {
    throw malformed(file, `member ${quote(name)} has no sensible size`);
  }
  if (view.getUint16(10, true) !== 0) {
    throw unsupported(file, `member ${quote(name)} is compressed`, "save the file with torch.save, unpacked");
  }
  if (compressed !== size)
    throw malformed(file, `member ${quote(name)} is stored in another size than its own`);
  return { name, size, headerOffset };
}

/** Hands out the 64-bit fields of an entry's zip64 extra field in order; Infinity when there is none left. */
function zip64Fields(extra: Uint8Array): () => number {
  const view = viewOf(extra);
  let [at, end] = [0, 0];
  for (let start = 0; start + 4 <= extra.length; ) {
    const stop = start + 4 + view.getUint16(start + 2, true);
    if (view.getUint16(start, true) === 1 && stop <= extra.length) [at, end] = [start + 4, stop];
    start = stop;
  }
  return () => {
    if (at + 8 > end) return Number.POSITIVE_INFINITY;
    at += 8;
    return exactly(view.getBigUint64(at - 8, true));
  };
}

function memberName(bytes: Uint8Array, file: string): string {
  let name: string;
  try {
    name = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw malformed(file, "a zip member's name is not UTF-8", error);
  }
  const strange = name.startsWith("/") || /[\0\\]/.test(name) || name.split("/").includes("..");
  if (name === "" || strange) throw malformed(file, `a zip member is named ${quote(name)}`);
  return name;
}

/** A 64-bit field as a number; Infinity when a number cannot hold it, which every check that follows refuses. */
function exactly(value: bigint): number {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Number.POSITIVE_INFINITY;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
