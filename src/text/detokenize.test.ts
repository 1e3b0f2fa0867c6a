import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Detokenizer, type TokenPieces } from "./detokenize.ts";
import { createTokenizer } from "./tokenizer.ts";

function load(family: string) {
  const dir = new URL(`../../test/fixtures/oryx-${family}-tiny/`, import.meta.url);
  const read = (name: string) => JSON.parse(readFileSync(new URL(name, dir), "utf8"));
  return createTokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
}

describe.each(["qwen", "llama"])("streamed text of oryx-%s-tiny", (family) => {
  const tokenizer = load(family);
  const anyIds = fc.array(fc.integer({ min: 0, max: tokenizer.vocabSize + 3 }), { maxLength: 60 });

  it("joins to the text of all bytes, for any ids", () => {
    fc.assert(
      fc.property(anyIds, (ids) => {
        const bytes = ids.flatMap((id) => [...tokenizer.pieces.bytes(id)]);
        const whole = Buffer.from(bytes).toString("utf8");
        const detokenizer = new Detokenizer(tokenizer.pieces);
        const pieces = ids.map((id) => detokenizer.push(id));
        expect(pieces.join("") + detokenizer.flush()).toBe(whole);
        expect(tokenizer.decode(ids)).toBe(whole);
      }),
    );
  });

  it("never shows half a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const detokenizer = new Detokenizer(tokenizer.pieces);
        for (const id of tokenizer.encode(text)) {
          const piece = detokenizer.push(id);
          expect(piece).not.toMatch(/\p{Surrogate}/u);
          if (!text.includes("\ufffd")) expect(piece).not.toContain("\ufffd");
        }
        expect(detokenizer.flush()).toBe("");
      }),
    );
  });

  it("shows a character with its last byte", () => {
    const ids = tokenizer.encode("👍");
    expect(ids).toHaveLength(4);
    const detokenizer = new Detokenizer(tokenizer.pieces);
    expect(ids.map((id) => detokenizer.push(id))).toEqual(["", "", "", "👍"]);
  });

  it("skips specials, even between the bytes of a character", () => {
    const [first, ...rest] = tokenizer.encode("é");
    const ids = [first!, tokenizer.special("<|im_end|>"), ...rest];
    expect(tokenizer.decode(ids)).toBe("é");
  });

  it("marks an unfinished character at the end", () => {
    const [first] = tokenizer.encode("👍");
    const detokenizer = new Detokenizer(tokenizer.pieces);
    expect(detokenizer.push(first!)).toBe("");
    expect(detokenizer.flush()).toBe("\ufffd");
  });
});

describe("a decoder that strips the space at the start", () => {
  const utf8 = new TextEncoder();
  const words = [" ", " a", "b ", ""];
  const pieces: TokenPieces = { bytes: (id) => utf8.encode(words[id]), strippedSpaces: 1 };

  it("strips it once per text, however the text comes", () => {
    const detokenizer = new Detokenizer(pieces);
    const text = (ids: number[]) => ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
    expect(text([1, 1])).toBe("a a");
    expect(text([3, 0, 0, 1])).toBe("  a");
    expect(text([2, 1])).toBe("b  a");
  });
});
