import { open, stat } from "node:fs/promises";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { shortened } from "../media/file.ts";

/**
 * Where the records of a file lie. Its columns are shared memory, so that threads that are handed an index neither
 * scan the file again nor hold a copy.
 */
export interface RecordIndex {
  readonly path: string;
  readonly byteLength: number;
  /** Byte at which each record begins. */
  readonly starts: Float64Array;
  /** Bytes of each record; 2^32 - 1 stands for as many and more. */
  readonly lengths: Uint32Array;
  /** Line on which each record begins, counted from 1. */
  readonly lines: Uint32Array;
}

const SCAN_BYTES = 1 << 20;

/**
 * Finds the records of a file: the elements of one JSON array, or the lines of JSON lines. The file is streamed, and
 * what stands inside a record is not looked at beyond its strings and brackets.
 * @throws OryxError `data_invalid`: no such file, neither of the two formats, cut off, no records, too many
 */
export async function indexRecords(path: string): Promise<RecordIndex> {
  const name = shortened(path);
  const found = await stat(path).catch((cause: unknown) => {
    throw unreadable(name, cause);
  });
  // Opening a pipe would wait for a writer for ever.
  if (!found.isFile()) throw invalid(name, "is not a regular file", "give a JSON or JSON lines file");
  const file = await open(path).catch((cause: unknown) => {
    throw unreadable(name, cause);
  });
  try {
    const scanner = new RecordScanner(name);
    const chunk = new Uint8Array(SCAN_BYTES);
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(chunk, 0, SCAN_BYTES, at);
      if (bytesRead === 0) return { path, byteLength: at, ...scanner.end() };
      scanner.push(chunk.subarray(0, bytesRead));
      at += bytesRead;
    }
  } catch (error) {
    throw error instanceof OryxError ? error : unreadable(name, error);
  } finally {
    await file.close();
  }
}

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
const [NEWLINE, QUOTE, BACKSLASH, COMMA] = [0x0a, 0x22, 0x5c, 0x2c];
const [OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [0x5b, 0x5d, 0x7b, 0x7d];
const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

/** Finds records in bytes that come in pieces of any length. */
export class RecordScanner {
  readonly #name: string;
  readonly #records = new Columns();
  #format: "unknown" | "lines" | "array" | "ended" = "unknown";
  /** Bytes before the piece at hand. */
  #before = 0;
  #line = 1;
  /** Where the record at hand began, and on which line; -1 between records. */
  #start = -1;
  #startLine = 0;
  #inString = false;
  #escaped = false;
  /** Brackets that are open, the array's own included. */
  #depth = 0;

  /** @param name of the file, for messages */
  constructor(name: string) {
    this.#name = name;
  }

  /** @throws OryxError `data_invalid` */
  push(bytes: Uint8Array): void {
    let at = this.#format === "unknown" ? this.#recognise(bytes) : 0;
    if (this.#format === "lines") this.#pushLines(bytes, at);
    if (this.#format === "array") at = this.#pushArray(bytes, at);
    if (this.#format === "ended") this.#pushRest(bytes, at);
    this.#before += bytes.length;
  }

  /** What was found. @throws OryxError `data_invalid` */
  end(): Pick<RecordIndex, "starts" | "lengths" | "lines"> {
    if (this.#format === "array") {
      const problem = `ends within record ${this.#records.count + 1}, which begins on line ${this.#startLine}`;
      throw invalid(this.#name, problem, "it is cut off, or a quote or bracket is missing: get it again");
    }
    if (this.#format === "lines") this.#close(this.#before);
    if (this.#records.count === 0) throw invalid(this.#name, "has no records", "is it the right file?");
    return this.#records.shared();
  }

  /** Skips what may stand before the first record. -> where to go on */
  #recognise(bytes: Uint8Array): number {
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!;
      if (byte === NEWLINE) this.#line++;
      if (isSpace(byte) || byte === BYTE_ORDER_MARK[this.#before + i]) continue;
      if (byte === OPEN_BRACE) this.#format = "lines";
      else if (byte === OPEN_BRACKET) this.#format = "array";
      else throw invalid(this.#name, "is neither a JSON array nor JSON lines in UTF-8", "convert it");
      if (this.#format === "lines") return i;
      this.#depth = 1;
      return i + 1;
    }
    return bytes.length;
  }

  #pushLines(bytes: Uint8Array, from: number): void {
    for (let i = from; i < bytes.length; ) {
      if (this.#start < 0) {
        while (i < bytes.length && bytes[i] !== NEWLINE && isSpace(bytes[i]!)) i++;
        if (i < bytes.length && bytes[i] !== NEWLINE) this.#open(this.#before + i, this.#line);
      }
      const end = bytes.indexOf(NEWLINE, i);
      if (end < 0) return;
      this.#close(this.#before + end);
      this.#line++;
      i = end + 1;
    }
  }

  /** -> where the array ended, or the piece's length. State is held in locals: this loop sees every byte. */
  #pushArray(bytes: Uint8Array, from: number): number {
    const before = this.#before;
    let [inString, escaped, depth, line] = [this.#inString, this.#escaped, this.#depth, this.#line];
    let i = from;
    for (; i < bytes.length && depth > 0; i++) {
      const byte = bytes[i]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
        else if (byte === NEWLINE) line++;
        continue;
      }
      if (isSpace(byte)) {
        if (byte === NEWLINE) line++;
        continue;
      }
      if (depth === 1 && (byte === COMMA || byte === CLOSE_BRACKET)) this.#endElement(before + i, byte, line);
      else if (this.#start < 0) this.#open(before + i, line);
      if (byte === QUOTE) inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
      if (depth === 0 && byte === CLOSE_BRACE) this.#unexpected("}", line);
    }
    if (depth === 0) this.#format = "ended";
    [this.#inString, this.#escaped, this.#depth, this.#line] = [inString, escaped, depth, line];
    return i;
  }

  /** A comma or the closing bracket has something before it, unless the array is empty. */
  #endElement(at: number, byte: number, line: number): void {
    const empty = byte === CLOSE_BRACKET && this.#records.count === 0;
    if (this.#start < 0 && !empty) this.#unexpected(String.fromCharCode(byte), line);
    this.#close(at);
  }

  #pushRest(bytes: Uint8Array, from: number): void {
    for (let i = from; i < bytes.length; i++) {
      if (!isSpace(bytes[i]!)) throw invalid(this.#name, "goes on behind its array", "remove what is there");
    }
  }

  #open(at: number, line: number): void {
    this.#start = at;
    this.#startLine = line;
  }

  #close(at: number): void {
    if (this.#start < 0) return;
    if (this.#records.count === LIMITS.recordsPerFile) {
      throw invalid(this.#name, `has more than ${LIMITS.recordsPerFile} records`, "split it");
    }
    this.#records.add(this.#start, at - this.#start, this.#startLine);
    this.#start = -1;
  }

  #unexpected(what: string, line: number): never {
    throw invalid(this.#name, `has an unexpected ${what} on line ${line}`, "mend it");
  }
}

/** Starts, lengths and lines, which double their room when it is full. */
class Columns {
  count = 0;
  #starts = new Float64Array(1024);
  #lengths = new Uint32Array(1024);
  #lines = new Uint32Array(1024);

  add(start: number, length: number, line: number): void {
    if (this.count === this.#starts.length) {
      this.#starts = grown(this.#starts, new Float64Array(2 * this.count));
      this.#lengths = grown(this.#lengths, new Uint32Array(2 * this.count));
      this.#lines = grown(this.#lines, new Uint32Array(2 * this.count));
    }
    this.#starts[this.count] = start;
    this.#lengths[this.count] = Math.min(length, 2 ** 32 - 1);
    this.#lines[this.count++] = line;
  }

  shared(): Pick<RecordIndex, "starts" | "lengths" | "lines"> {
    const { count } = this;
    const bytes = (each: number) => new SharedArrayBuffer(each * count);
    return {
      starts: grown(this.#starts.subarray(0, count), new Float64Array(bytes(8))),
      lengths: grown(this.#lengths.subarray(0, count), new Uint32Array(bytes(4))),
      lines: grown(this.#lines.subarray(0, count), new Uint32Array(bytes(4))),
    };
  }
}

/** A longer column that begins with another's numbers. */
function grown<T extends Float64Array | Uint32Array>(from: Float64Array | Uint32Array, to: T): T {
  to.set(from);
  return to;
}

function unreadable(name: string, cause: unknown): OryxError {
  return new OryxError("data_invalid", `${name} cannot be read`, "check the path and its permissions", {
    cause,
  });
}

function invalid(name: string, problem: string, remedy: string): OryxError {
  return new OryxError("data_invalid", `${name} ${problem}`, remedy);
}
