import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseConfig, parseGenerationConfig } from "../src/model/config.ts";
import { createTokenizer } from "../src/text/tokenizer.ts";
import { expectedLanguageTensors, expectedVisionTensors } from "../src/weights/expected.ts";
import { KINDS } from "../src/world/sample.ts";
import { composeSample } from "../src/world/world.ts";

const read = (name: string) => JSON.parse(readFileSync(`recipes/oryx-tiny/${name}`, "utf8"));

const config = parseConfig(read("config.json"));
const tokenizerJson = read("tokenizer.json");
const tokenizer = createTokenizer(tokenizerJson, read("tokenizer_config.json"));

describe("oryx-tiny's config", () => {
  it("has 5.6 million parameters, as the documentation says", () => {
    const { tower, compressorWidth } = read("recipe.json").models["oryx-tiny"];
    const { hiddenSize: width, heads } = config.vision;
    const vision = expectedVisionTensors({ width, heads, ...tower });
    const shapes = [...vision.values(), ...expectedLanguageTensors(config, compressorWidth).values()];
    const parameters = shapes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(parameters).toBe(5_562_176);
  });

  it("names the tokenizer's specials, and ends a turn where the tokenizer does", () => {
    const end = tokenizer.special("<|im_end|>");
    expect(config.eosTokenIds).toEqual([end]);
    const generation = parseGenerationConfig(read("generation_config.json"));
    expect(generation.eosTokenIds).toEqual([end, tokenizer.special("<|endoftext|>")]);
    expect(tokenizer.vocabSize).toBeLessThanOrEqual(config.language.vocabSize);
  });
});

describe("oryx-tiny's tokenizer", () => {
  it("takes one token for a word of its world", () => {
    const words = (text: string) => tokenizer.encode(text).map((id) => tokenizer.decode([id]));
    expect(words("A red star at the top left and the word OWL.")).toEqual([
      "A",
      " red",
      " star",
      " at",
      " the",
      " top",
      " left",
      " and",
      " the",
      " word",
      " OWL",
      ".",
    ]);
    expect(words("You are a helpful assistant.")).toHaveLength(6);
    // Instructions of published evaluations are spelt, and pages are no text at all.
    for (const kind of KINDS.filter((k) => k !== "letter" && k !== "page")) {
      const { turns } = composeSample(7, { split: "heldout", kinds: { [kind]: 1 } });
      for (const { question, answer } of turns) {
        const text = `${question} ${answer}`;
        const pieces = text.match(/[a-z]+|[^a-z\s]/gi) ?? []; // words, digits and punctuation
        const blanks = text.match(/ \d/g) ?? []; // before a digit, a blank is a token of its own
        expect(tokenizer.encode(text).length).toBeLessThanOrEqual(pieces.length + blanks.length + 1);
      }
    }
  });

  it("spells any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const normal = text.normalize("NFC"); // as its normaliser does
        expect(tokenizer.decode(tokenizer.encode(normal))).toBe(normal);
      }),
    );
  });

  it("begins with the 256 bytes in order, goes on with what its merges make, and ends with the specials", () => {
    const { vocab, merges } = tokenizerJson.model;
    const made = new Set(merges.map((merge: string) => merge.replace(" ", "")));
    const tokens = Object.keys(vocab).sort((a, b) => vocab[a] - vocab[b]);
    expect(tokens.map((token) => vocab[token])).toEqual(tokens.map((_, id) => id));
    expect(tokenizer.encode("!")).toEqual([0x21]);
    expect(tokenizer.encode("\n")).toEqual([0x0a]);
    expect(new Set(tokens.slice(256))).toEqual(made);
    expect([...tokenizer.specialIds]).toEqual([1149, 1150, 1151]);
  });
});
