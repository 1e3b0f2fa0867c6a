import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JsonError, parseJson } from "./json.ts";

const limits = { maxValues: 10_000, maxTextBytes: 100_000 };
const parse = (text: string | Uint8Array) =>
  parseJson(typeof text === "string" ? new TextEncoder().encode(text) : text, limits);

describe("parseJson", () => {
  it("reads what JSON.parse reads", () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(3), (text, indent) => {
        const pretty = JSON.stringify(JSON.parse(text), null, indent);
        expect(JSON.stringify(parse(pretty))).toBe(JSON.stringify(JSON.parse(text)));
      }),
    );
  });

  it("refuses every text that JSON.parse refuses, and throws nothing but its own error", () => {
    const pieces = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"a"',
      '"',
      "\\",
      "1",
      "-",
      ".",
      "e",
      "true",
      "nul",
      " ",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const text = parts.join("");
        let ours: unknown;
        try {
          ours = parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(JsonError);
          return;
        }
        expect(JSON.stringify(ours)).toBe(JSON.stringify(JSON.parse(text)));
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ["a duplicate key", '{"a":1,"a":2}'],
    ["a duplicate key behind an escape", '{"a":1,"\\u0061":2}'],
    ["a duplicate __proto__", '{"__proto__":1,"__proto__":2}'],
    ["half a surrogate pair", '"\\ud800"'],
    ["a raw control character", '"\n"'],
    ["a leading zero", "01"],
    ["a trailing comma", "[1,]"],
    ["two values", "1 2"],
    ["nothing", ""],
    ["deep nesting", "[".repeat(100_000)],
    ["a word of endless length", "1".repeat(100_000)],
    ["a byte order mark", "\ufeff{}"],
    ["a non-breaking space", "\u00a01"],
    ["an escaped quote at the end", '"\\"'],
  ])("refuses %s", (_, text) => {
    expect(() => parse(text)).toThrow(JsonError);
  });

  it("refuses bytes that are not UTF-8", () => {
    expect(() => parse(Uint8Array.of(0x22, 0xc3, 0x28, 0x22))).toThrow(JsonError);
  });

  it("keeps __proto__ as an ordinary key", () => {
    const value = parse('{"__proto__":{"x":1},"constructor":2}') as Record<string, unknown>;
    expect(Object.keys(value)).toEqual(["__proto__", "constructor"]);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
    expect(value.x).toBeUndefined();
  });

  it("stops at its budget of values and of text", () => {
    expect(() => parse(`[${"0,".repeat(20_000)}0]`)).toThrow(/too many values/);
    expect(() => parse(`"${"x".repeat(200_000)}"`)).toThrow(/too much text/);
  });
});
