import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { sealed, unsealed } from "./sealed-line.ts";

const value = { name: "a b", list: [1, 2.5], text: "\n ü" };
const line = sealed(value);

describe("a sealed line", () => {
  it("is JSON, a blank and 16 digits of its hash, and is read back", () => {
    const json = JSON.stringify(value);
    const hash = createHash("sha256").update(json).digest("hex");
    expect(line).toBe(`${json} ${hash.slice(0, 16)}`);
    expect(unsealed(line)).toEqual(value);
  });

  it("is refused when any character of it is another", () => {
    for (let i = 0; i < line.length; i++) {
      const other = String.fromCharCode(line.charCodeAt(i) ^ 1);
      expect(unsealed(line.slice(0, i) + other + line.slice(i + 1))).toBeUndefined();
    }
  });

  it("is refused when it is cut, longer, or no JSON", () => {
    for (let i = 0; i < line.length; i++) expect(unsealed(line.slice(0, i))).toBeUndefined();
    expect(unsealed(`${line} `)).toBeUndefined();
    const hash = createHash("sha256").update("{").digest("hex");
    expect(unsealed(`{ ${hash.slice(0, 16)}`)).toBeUndefined();
  });
});
