import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import { RecordFile } from "./record-file.ts";
import { indexRecords, RecordScanner } from "./record-index.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const code = (name: string) => expect.objectContaining({ code: name });

/** Records that a scanner finds when the bytes come in pieces, as texts, with their lines. */
function scan(bytes: Uint8Array, piece = bytes.length): { text: string; line: number }[] {
  const scanner = new RecordScanner("records.json");
  for (let at = 0; at < bytes.length; at += Math.max(1, piece))
    scanner.push(bytes.subarray(at, at + Math.max(1, piece)));
  const { starts, lengths, lines } = scanner.end();
  return [...starts].map((start, i) => ({
    text: new TextDecoder().decode(bytes.subarray(start, start + lengths[i]!)),
    line: lines[i]!,
  }));
}

const values = (found: { text: string }[]) => found.map(({ text }) => JSON.parse(text));
const record = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue({ stringUnit: "binary" }));
/** JSON's own view, which has no -0. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value));

describe("the index of a file of records", () => {
  it("finds what JSON.parse finds in an array, in pieces of any length, and the lines", () => {
    const indents = fc.constantFrom(undefined, 1, 2, "\t");
    const anything = fc.array(fc.oneof(record, fc.jsonValue()), { minLength: 1 });
    fc.assert(
      fc.property(
        anything,
        indents,
        fc.boolean(),
        fc.integer({ min: 1, max: 40 }),
        (all, indent, crlf, n) => {
          const text = JSON.stringify(all, undefined, indent);
          const bytes = utf8(crlf ? text.replaceAll("\n", "\r\n") : text);
          const found = scan(bytes, n);
          expect(values(found)).toEqual(plain(all));
          const lineOf = (i: number) => JSON.stringify(all.slice(0, i), undefined, indent).split("\n").length;
          const lines = found.map((_, i) => (indent === undefined ? 1 : i === 0 ? 2 : lineOf(i)));
          expect(found.map(({ line }) => line)).toEqual(lines);
        },
      ),
    );
  });

  it("finds the lines of JSON lines, whatever ends them, and leaves out empty ones", () => {
    const ends = fc.constantFrom("\n", "\r\n", "\n\n", "\n \t\r\n");
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1 }),
        ends,
        fc.boolean(),
        fc.integer({ min: 1, max: 40 }),
        (all, end, closed, n) => {
          const text = all.map((one) => JSON.stringify(one)).join(end) + (closed ? end : "");
          const found = scan(utf8(text), n);
          expect(values(found)).toEqual(plain(all));
          const step = end.split("\n").length - 1;
          expect(found.map(({ line }) => line)).toEqual(all.map((_, i) => 1 + i * step));
        },
      ),
    );
  });

  it("passes over a byte order mark, also in pieces", () => {
    for (const text of ['\ufeff[{"a":1}]', '\ufeff\r\n{"a":1}']) {
      for (const piece of [1, 2, 100]) expect(values(scan(utf8(text), piece))).toEqual([{ a: 1 }]);
    }
  });

  it("keeps a broken record to itself", () => {
    const found = scan(utf8('[{"a":1}, {"b" 2}, nonsense, {"c":[1}], {"d":4}]'));
    expect(found.map(({ text }) => text)).toEqual(['{"a":1}', '{"b" 2}', "nonsense", '{"c":[1}]', '{"d":4}']);
  });

  it.each([
    ["nothing", "", /has no records/],
    ["white space", " \n ", /has no records/],
    ["an empty array", "[ ]", /has no records/],
    ["a text", "id,image\n1,a.png", /neither a JSON array nor JSON lines/],
    ["UTF-16", "\u00ff\u00fe[", /neither/],
    ["half an array", '[{"a":1},\n{"b":', /ends within record 2, which begins on line 2/],
    ["a string without end", '[{"a":"1}]', /ends within record 1/],
    ["a bracket too many", "[1]]", /goes on behind its array/],
    ["two arrays", '[{"a":1}][{"b":2}]', /goes on behind/],
    ["a brace for a bracket", '[{"a":1}}', /unexpected } on line 1/],
    ["a comma too many", '[{"a":1},\n]', /unexpected ] on line 2/],
    ["two commas", '[{"a":1},,{"b":1}]', /unexpected , on line 1/],
  ])("refuses %s", (_, text, problem) => {
    for (const piece of [1, 1000]) {
      expect(() => scan(utf8(text), piece)).toThrow(code("data_invalid"));
      expect(() => scan(utf8(text), piece)).toThrow(problem);
    }
  });

  it("never fails otherwise, nor finds records that are not in the file", () => {
    const bits = fc.constantFrom(...'[]{},:"\\ \n\r1a\u00e9\ufeff');
    fc.assert(
      fc.property(fc.array(bits, { maxLength: 60 }), fc.integer({ min: 1, max: 9 }), (text, piece) => {
        const bytes = utf8(text.join(""));
        try {
          const scanner = new RecordScanner("x");
          for (let at = 0; at < bytes.length; at += piece) scanner.push(bytes.subarray(at, at + piece));
          const { starts, lengths } = scanner.end();
          starts.forEach((start, i) => {
            expect(lengths[i]).toBeGreaterThan(0);
            expect(start + lengths[i]!).toBeLessThanOrEqual(starts[i + 1] ?? bytes.length);
          });
        } catch (error) {
          if (!(error instanceof OryxError)) throw error;
          expect(error.code).toBe("data_invalid");
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a file of records", () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "oryx-records-"));
  });
  afterAll(() => rm(dir, { recursive: true }));

  async function fileOf(text: string | Uint8Array): Promise<string> {
    const path = join(dir, "some.json");
    await writeFile(path, text);
    return path;
  }

  it("gives each record by its number, over the border of what is read at a time", async () => {
    const all = Array.from({ length: 5000 }, (_, i) => ({
      id: i,
      text: `${"\u2603".repeat(i % 300)}"]},{[`,
    }));
    const path = await fileOf(JSON.stringify(all));
    const file = await RecordFile.open(await indexRecords(path));
    expect(file.length).toBe(all.length);
    for (const i of [0, 1, 1499, 2500, 4999]) expect(await file.read(i)).toEqual(all[i]);
    expect(file.place(7)).toBe("some.json line 1");
    await file.close();
  });

  it.each([
    ["not JSON", '{"a":'],
    ["not UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
    ["nested without end", `${'{"a":'.repeat(100_000)}1`],
    ["too large", `{"a":"${"a".repeat(4_000_000)}"}`],
  ])("blames the record that is %s, and goes on with the next", async (_, broken) => {
    const bytes = typeof broken === "string" ? utf8(broken) : broken;
    const file = await RecordFile.open(await fileOf(Buffer.concat([bytes, utf8('\n{"a":2}\n')])));
    await expect(file.read(0)).rejects.toEqual(code("sample_invalid"));
    expect(await file.read(1)).toEqual({ a: 2 });
    await file.close();
  });

  it("is refused when it is not there, is a folder, or has changed since it was indexed", async () => {
    await expect(indexRecords(join(dir, "none.json"))).rejects.toEqual(code("data_invalid"));
    await expect(indexRecords(dir)).rejects.toEqual(code("data_invalid"));
    const index = await indexRecords(await fileOf('{"a":1}'));
    await fileOf('{"a":1}\n{"a":2}');
    await expect(RecordFile.open(index)).rejects.toEqual(code("data_invalid"));
  });
});
