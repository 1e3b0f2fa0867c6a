import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CsvError, csvRows } from "./csv.ts";

const rows = (text: string, most = 8) => [...csvRows(text, most)].map(({ fields }) => fields);

describe("csvRows", () => {
  it("reads plain and quoted fields, with either line end and none at the end", () => {
    expect(rows('a,b\r\n"1, 2","say ""hi"""\n,x')).toEqual([
      ["a", "b"],
      ["1, 2", 'say "hi"'],
      ["", "x"],
    ]);
    expect(rows("\ufeffa,b\n\n1,2\n")).toEqual([
      ["a", "b"],
      ["1", "2"],
    ]);
    expect(rows("")).toEqual([]);
  });

  it("tells on which line a row begins, whatever is in its quotes", () => {
    const lines = [...csvRows('a,b\n"1\n1",2\n3,4', 8)].map(({ line }) => line);
    expect(lines).toEqual([1, 2, 4]);
  });

  it.each(['a,"b', 'a,"b"c', '"', "a,b,c,d,e,f,g,h,i"])("refuses %j", (text) => {
    expect(() => rows(text)).toThrow(CsvError);
  });

  it("reads back whatever is written with quotes", () => {
    const field = fc.string({ unit: fc.constantFrom("a", '"', ",", "\n", "\r", " ") });
    const row = fc.array(field, { minLength: 2, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(row), (table) => {
        const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;
        const text = table.map((fields) => `${fields.map(quote).join(",")}\n`).join("");
        expect(rows(text)).toEqual(table);
      }),
    );
  });
});
