import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { createTokenizer } from "./tokenizer.ts";

const FIXTURES = new URL("../../test/fixtures/", import.meta.url);

function readJson(path: string) {
  return JSON.parse(readFileSync(new URL(path, FIXTURES), "utf8"));
}

/** Ids and texts from the native tokenizer of Hugging Face (tokenizers 0.23), for texts without added tokens. */
const native: Record<string, { text: string; ids: number[]; decoded: string }[]> =
  readJson("text/native.json");

describe.each(["qwen", "llama"])("the tokenizer of oryx-%s-tiny", (family) => {
  const json = readJson(`oryx-${family}-tiny/tokenizer.json`);
  const config = readJson(`oryx-${family}-tiny/tokenizer_config.json`);
  const tokenizer = createTokenizer(json, config);
  const addedContents: string[] = json.added_tokens.map((token: { content: string }) => token.content);
  const addedIds = new Set(addedContents.map((content) => tokenizer.special(content)));

  it("gives the native tokenizer's ids", () => {
    for (const { text, ids } of native[family]!) {
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
    }
  });

  it("gives the native tokenizer's text back", () => {
    for (const { ids, decoded } of native[family]!) expect(tokenizer.decode(ids)).toBe(decoded);
  });

  it("decodes no ids to an empty text", () => {
    expect(tokenizer.decode([])).toBe("");
  });

  it("leaves special ids and ids without a token out of decoded text", () => {
    const hi = tokenizer.encode("hi");
    const noise = [...tokenizer.specialIds, tokenizer.vocabSize, 1e9, -1, Number.NaN];
    expect(tokenizer.decode([...noise, ...hi, ...noise])).toBe("hi");
  });

  it("never turns what a user writes into an added token, and loses none of it", () => {
    const hostile = fc
      .array(
        fc.oneof(
          fc.constantFrom(...addedContents, "<image>", "<|startoftext|>", "<unk>"),
          fc.string({ unit: "binary" }),
        ),
      )
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(hostile, (text) => {
        const ids = tokenizer.encode(text);
        expect(ids.filter((id) => addedIds.has(id))).toEqual([]);
        const spelled = family === "qwen" ? text.normalize("NFC") : text;
        expect(tokenizer.decode(ids)).toBe(spelled);
      }),
    );
  });

  it("encodes a long text as the joined encodings of its lines' words", () => {
    // The reference encodes words one by one; no merge of these tokenizers reaches over a space before a word.
    const words = Array.from({ length: 20_000 }, (_, i) => ` ${["video", "circle", "the", "detail"][i % 4]}`);
    const expected = words.flatMap((word) => tokenizer.encode(word));
    expect(tokenizer.encode(words.join(""))).toEqual(expected);
  });

  it("takes texts that slow byte-pair encoding down, up to the limit", () => {
    for (const unit of ["a", " ", "st", "\n ", "!"]) {
      const text = unit.repeat(100_000);
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }
    expectCode("prompt_invalid", () => tokenizer.encode("a".repeat(LIMITS.promptChars + 1)));
  });

  it("names special tokens by their content and refuses others", () => {
    expect(tokenizer.special("<|im_start|>")).toBe(family === "qwen" ? 457 : 554);
    expectCode("tokenizer_invalid", () => tokenizer.special("<|nothing|>"));
  });

  it("refuses a damaged tokenizer.json", () => {
    const damages: Record<string, (copy: ReturnType<typeof structuredClone<typeof json>>) => void> = {
      "no model": (copy) => delete copy.model,
      "another kind of model": (copy) => (copy.model.type = "Unigram"),
      "no vocabulary": (copy) => delete copy.model.vocab,
      "a vocabulary that is a list": (copy) => (copy.model.vocab = []),
      "an id that is a text": (copy) => (copy.model.vocab.the = "3"),
      "an id that is not whole": (copy) => (copy.model.vocab.the = 0.5),
      "a negative id": (copy) => (copy.model.vocab.the = -1),
      "an id that asks for much memory": (copy) => (copy.model.vocab.the = 4e9),
      "two tokens with one id": (copy) => (copy.model.vocab.the = 7),
      "a missing byte": (copy) => delete copy.model.vocab[family === "qwen" ? "Ā" : "<0x00>"],
      "no merges": (copy) => delete copy.model.merges,
      "a merge of three": (copy) => copy.model.merges.push(["a", "b", "c"]),
      "a merge of numbers": (copy) => copy.model.merges.push([1, 2]),
      "a merge into an unknown token": (copy) => copy.model.merges.push("q q"),
      "an added token without content": (copy) => delete copy.added_tokens[0].content,
      "an added token that is null": (copy) => copy.added_tokens.push(null),
      "an added token with another's id": (copy) => (copy.added_tokens[0].id = 5),
      "an unknown normalizer": (copy) => (copy.normalizer = { type: "Magic" }),
      "an unknown pre-tokenizer": (copy) => (copy.pre_tokenizer = { type: "Magic" }),
      "a broken pattern": (copy) => (copy.pre_tokenizer = { type: "Split", pattern: { Regex: "(" } }),
      "an unknown decoder": (copy) => (copy.decoder = { type: "Magic" }),
      "no decoder": (copy) => (copy.decoder = null),
      "random merges": (copy) => (copy.model.dropout = 0.5),
    };
    for (const [name, damage] of Object.entries(damages)) {
      const copy = structuredClone(json);
      damage(copy);
      expectCode("tokenizer_invalid", () => createTokenizer(copy, config), name);
    }
  });

  it("meets any JSON in any place with a working tokenizer or a coded error", () => {
    const places = [
      "version",
      "normalizer",
      "pre_tokenizer",
      "decoder",
      "model",
      "added_tokens",
      "post_processor",
    ];
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.jsonValue(), (place, value) => {
        try {
          createTokenizer({ ...json, [place]: value }, config).encode("the video");
        } catch (error) {
          expect(error).toBeInstanceOf(OryxError);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("refuses tokens that trim the text beside them when they are asked for", () => {
    const copy = structuredClone(json);
    copy.added_tokens[1].rstrip = true;
    expectCode("tokenizer_invalid", () => createTokenizer(copy, config).special("<|im_start|>"));
  });

  it("takes added tokens from tokenizer_config.json as well", () => {
    const decoder = { "700": { content: "<|im_sep|>", special: true } };
    const extended = createTokenizer(json, { ...config, added_tokens_decoder: decoder });
    expect(extended.special("<|im_sep|>")).toBe(700);
    expect(extended.vocabSize).toBe(701);
    expect(extended.encode("<|im_sep|>")).toEqual(tokenizer.encode("<|im_sep|>"));
  });
});

describe("an added token that merges could make", () => {
  it("is spelled in other tokens", () => {
    const json = readJson("oryx-qwen-tiny/tokenizer.json");
    const id = json.model.vocab.video;
    json.added_tokens.push({ id, content: "video", special: true });
    const tokenizer = createTokenizer(json, {});
    const ids = tokenizer.encode("a video, video");
    expect(ids).not.toContain(id);
    expect(tokenizer.decode(ids)).toBe("a video, video");
  });
});

function expectCode(code: string, action: () => unknown, name?: string) {
  let thrown: unknown;
  try {
    action();
  } catch (error) {
    thrown = error;
  }
  expect(thrown, name).toMatchObject({ name: "OryxError", code });
}
