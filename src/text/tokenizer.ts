import { Tokenizer as Library } from "@huggingface/tokenizers";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { Detokenizer, type TokenPieces } from "./detokenize.ts";
import { createWordSplitter } from "./split.ts";
import {
  BYTE_STAND_INS,
  fallbackToken,
  invalid,
  object,
  parseVocabulary,
  type Vocabulary,
} from "./vocabulary.ts";

/** Text to token ids and back. Text is data: no text that a user writes becomes a special or added token. */
export interface Tokenizer {
  /**
   * Ids of a text, without start or end tokens. Equal to what Hugging Face's tokenizer gives where the text holds
   * no added token; there, the added token's characters are encoded like any others.
   * @throws OryxError `prompt_invalid` when the text is over the limit.
   */
  encode(text: string): number[];
  /** Text of ids, special tokens and unknown ids left out; "" of none. */
  decode(ids: readonly number[]): string;
  /**
   * Id of an added token by its content, such as `<|im_start|>`.
   * @throws OryxError `tokenizer_invalid` when the tokenizer lacks it.
   */
  special(content: string): number;
  /** One more than the largest id; the embedding may have more rows (padding). */
  readonly vocabSize: number;
  /** Ids of special tokens, which decoded text leaves out. */
  readonly specialIds: ReadonlySet<number>;
  /** What a streaming {@link Detokenizer} reads. */
  readonly pieces: TokenPieces;
}

/**
 * A tokenizer from the parsed contents of tokenizer.json and tokenizer_config.json.
 * @throws OryxError `tokenizer_invalid` when they are malformed, lie, or ask for something not done here.
 */
export function createTokenizer(tokenizerJson: unknown, tokenizerConfig: unknown): Tokenizer {
  const json = object(tokenizerJson, "tokenizer.json");
  const vocabulary = parseVocabulary(json, object(tokenizerConfig, "tokenizer_config.json"));
  const pieces = createPieces(vocabulary);
  return {
    encode: createEncoder(json, vocabulary),
    decode(ids) {
      const detokenizer = new Detokenizer(pieces);
      return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
    },
    special(content) {
      const token = vocabulary.added.get(content);
      if (!token) throw invalid(`the tokenizer has no special token ${content}`);
      // Such a token changes how the text beside it is read; segments are encoded without their neighbours.
      if (token.trims) throw invalid(`the special token ${content} trims the text beside it`);
      return token.id;
    },
    vocabSize: vocabulary.tokens.length,
    specialIds: new Set([...vocabulary.added.values()].filter((t) => t.special).map((t) => t.id)),
    pieces,
  };
}

/** Normalise, cut into words, cut long words where that is safe, join by merges, look up. */
function createEncoder(json: Readonly<Record<string, unknown>>, vocabulary: Vocabulary) {
  const { normalizer, pre_tokenizer, model } = createLibrary(json, vocabulary);
  const longestToken = vocabulary.tokens.reduce((longest, token) => Math.max(longest, token?.length ?? 0), 0);
  const cut = createWordSplitter(vocabulary.merges, longestToken);
  return (text: string): number[] => {
    if (text.length > LIMITS.promptChars) {
      const problem = `a text of ${text.length} characters is over the limit of ${LIMITS.promptChars}`;
      throw new OryxError("prompt_invalid", problem, "shorten the text");
    }
    if (text === "") return [];
    const normalized = normalizer ? normalizer.normalize(text) : text;
    const words = pre_tokenizer ? pre_tokenizer.pre_tokenize(normalized, { section_index: 0 }) : [normalized];
    // Each distinct piece goes through the library once: its own cache turns slow when one piece is asked for often.
    const known = new Map<string, number[]>();
    const idsOf = (piece: string): number[] => {
      const tokens: string[] = model._call([piece]);
      const ids = tokens.map((token) => vocabulary.ids.get(token)!);
      known.set(piece, ids);
      return ids;
    };
    return words.flatMap(cut).flatMap((piece: string) => known.get(piece) ?? idsOf(piece));
  };
}

function createLibrary(json: Readonly<Record<string, unknown>>, vocabulary: Vocabulary) {
  const guarded = {
    normalizer: json.normalizer ?? null,
    pre_tokenizer: json.pre_tokenizer ?? null,
    model: vocabulary.guardedModel,
    added_tokens: [],
    post_processor: null,
    decoder: null,
  };
  let library: Library;
  try {
    library = new Library(guarded, {});
    library.normalizer?.normalize("");
    library.pre_tokenizer?.pre_tokenize("a", { section_index: 0 });
  } catch (cause) {
    throw invalid(`the tokenizer library refuses tokenizer.json: ${(cause as Error).message}`, cause);
  }
  const { normalizer, pre_tokenizer, model } = library;
  if (!model) throw invalid("tokenizer.json has no model");
  return { normalizer, pre_tokenizer, model };
}

const NO_BYTES = new Uint8Array();

function createPieces({ spelling, tokens, added }: Vocabulary): TokenPieces {
  const utf8 = new TextEncoder();
  const byteOf = new Map<string, number>();
  for (let byte = 0; byte < 256; byte++) {
    byteOf.set(spelling.kind === "byte-level" ? BYTE_STAND_INS[byte]! : fallbackToken(byte), byte);
  }
  const spell = (token: string): Uint8Array => {
    if (spelling.kind === "byte-level") {
      const bytes = Array.from(token, (symbol) => byteOf.get(symbol));
      return bytes.includes(undefined) ? utf8.encode(token) : Uint8Array.from(bytes as number[]);
    }
    const byte = byteOf.get(token);
    if (byte !== undefined) return Uint8Array.of(byte);
    return utf8.encode(spelling.replace.reduce((text, { from, to }) => text.replaceAll(from, to), token));
  };
  return {
    bytes(id) {
      const token = tokens[id];
      const marker = token === undefined ? undefined : added.get(token);
      if (token === undefined || marker?.special) return NO_BYTES;
      return marker ? utf8.encode(token) : spell(token);
    },
    strippedSpaces: spelling.kind === "byte-level" ? 0 : spelling.strippedSpaces,
  };
}
