import { readFile, stat } from "node:fs/promises";
import { basename, extname } from "node:path";
import { OryxError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { shortened } from "../../media/file.ts";
import { isObject, type Json, JsonError, parseJson } from "../../weights/json.ts";
import { CsvError, csvRows } from "./csv.ts";
import { Fields } from "./fields.ts";

/** A file of questions as records: rows of CSV, elements or values of JSON, lines of JSON lines. */
export interface RecordsFile {
  path: string;
  records: Fields[];
}

const WHOLE_FILE = { maxValues: 2_500_000, maxTextBytes: LIMITS.questionFileBytes };
const ONE_LINE = { maxValues: 100_000, maxTextBytes: LIMITS.recordBytes };
/** Columns of a table: NExT-QA's has 13. */
const COLUMNS = 16;

/**
 * Reads a file of questions, of whatever layout. What it is, its content says: `{`, `[`, or else CSV.
 * @throws OryxError `questions_invalid`: no such file, too large, neither JSON, JSON lines nor CSV, no records
 */
export async function readRecords(path: string): Promise<RecordsFile> {
  const bytes = await fileBytes(path);
  const name = shortened(basename(path));
  try {
    const records = recordsOf(bytes, name, /\.(jsonl|ndjson)$/i.test(extname(path)));
    if (records.length > 0 && records.length <= LIMITS.questionsPerSet) return { path, records };
    throw invalid(name, records.length === 0 ? "it has no records" : "it has too many records");
  } catch (error) {
    if (!(error instanceof JsonError || error instanceof CsvError || error instanceof TypeError)) throw error;
    const what = error instanceof TypeError ? "it is not text in UTF-8" : error.message;
    throw invalid(name, what, error);
  }
}

async function fileBytes(path: string): Promise<Uint8Array> {
  const name = shortened(path);
  try {
    const found = await stat(path);
    // Opening a pipe would wait for a writer for ever.
    if (!found.isFile()) throw invalid(name, "it is not a regular file");
    if (found.size > LIMITS.questionFileBytes) {
      throw invalid(name, `it has ${found.size} bytes; ${LIMITS.questionFileBytes} are allowed`);
    }
    return await readFile(path);
  } catch (error) {
    if (error instanceof OryxError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw invalid(name, code === "ENOENT" ? "there is no such file" : `it cannot be read (${code})`, error);
  }
}

const SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);
const [NEWLINE, OPEN_BRACE, OPEN_BRACKET] = [0x0a, 0x7b, 0x5b];

function recordsOf(marked: Uint8Array, name: string, isNamedLines: boolean): Fields[] {
  const isMarked = marked[0] === 0xef && marked[1] === 0xbb && marked[2] === 0xbf;
  const bytes = isMarked ? marked.subarray(3) : marked;
  const first = bytes.find((byte) => !SPACE.has(byte));
  if (isNamedLines || (first === OPEN_BRACE && hasObjectLine(bytes))) return lineRecords(bytes, name);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return jsonRecords(parseJson(bytes, WHOLE_FILE), name);
  return csvRecords(new TextDecoder("utf-8", { fatal: true }).decode(bytes), name);
}

/** Whether the first line is an object by itself, with more behind it: JSON lines, whatever the file is called. */
function hasObjectLine(bytes: Uint8Array): boolean {
  const end = bytes.indexOf(NEWLINE);
  if (end < 0 || bytes.subarray(end).every((byte) => SPACE.has(byte))) return false;
  try {
    return isObject(parseJson(bytes.subarray(0, end), ONE_LINE));
  } catch {
    return false;
  }
}

function lineRecords(bytes: Uint8Array, name: string): Fields[] {
  const records: Fields[] = [];
  for (let [at, line] = [0, 1]; at < bytes.length; line++) {
    const newline = bytes.indexOf(NEWLINE, at);
    const end = newline < 0 ? bytes.length : newline;
    const text = bytes.subarray(at, end);
    at = end + 1;
    if (text.every((byte) => SPACE.has(byte))) continue;
    const place = `${name} line ${line}`;
    if (records.length === LIMITS.questionsPerSet) throw invalid(name, "it has too many records");
    records.push(fieldsOf(parsedLine(text, place), place));
  }
  return records;
}

function parsedLine(text: Uint8Array, place: string): Json {
  if (text.length > LIMITS.recordBytes) throw new JsonError(`${place} is too long`);
  try {
    return parseJson(text, ONE_LINE);
  } catch (error) {
    throw error instanceof JsonError ? new JsonError(`${place}: ${error.message}`) : error;
  }
}

/** An array's elements; an object's values, when all are objects; else the object itself. */
function jsonRecords(json: Json, name: string): Fields[] {
  if (Array.isArray(json)) return json.map((record, i) => fieldsOf(record, `${name} record ${i + 1}`));
  if (!isObject(json)) throw new JsonError("it is neither a list nor an object");
  const entries = Object.entries(json);
  if (!entries.every(([, value]) => isObject(value))) return [new Fields(json, name)];
  return entries.map(([key, value]) => fieldsOf(value, `${name} ${shortened(key)}`, key));
}

function fieldsOf(value: Json, place: string, key?: string): Fields {
  if (isObject(value)) return new Fields(value, place, key);
  throw invalid(place, "it is no object");
}

/** Rows by the names of their columns, which the first row gives. */
function csvRecords(text: string, name: string): Fields[] {
  const rows = csvRows(text, COLUMNS);
  const { value: head } = rows.next();
  if (head === undefined) return [];
  const { fields: columns } = head;
  const isTable = columns.length >= 3 && new Set(columns).size === columns.length;
  if (!isTable) throw invalid(name, "it is neither JSON nor JSON lines, nor CSV with a row of column names");
  const records: Fields[] = [];
  for (const { line, fields } of rows) {
    if (fields.length !== columns.length) {
      throw new CsvError(`line ${line} has ${fields.length} fields, the first line ${columns.length}`);
    }
    if (records.length === LIMITS.questionsPerSet) throw invalid(name, "it has too many records");
    const record: Record<string, string> = Object.create(null);
    columns.forEach((column, i) => {
      if (fields[i] !== "") record[column] = fields[i] as string;
    });
    records.push(new Fields(record, `${name} line ${line}`));
  }
  return records;
}

function invalid(name: string, problem: string, cause?: unknown): OryxError {
  const remedy = "give a file of questions as it was published, or JSON lines";
  return new OryxError("questions_invalid", `${name}: ${problem}`, remedy, { cause });
}
