import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";

type Json = Readonly<Record<string, unknown>>;

/** A token outside the merges: chat structure such as `<|im_start|>`, or a marker such as `<tool_call>`. */
export interface AddedToken {
  id: number;
  /** Special tokens are left out of decoded text. */
  special: boolean;
  /** Whether matching it eats white space beside it, or asks for a word boundary. */
  trims: boolean;
}

/**
 * How tokens spell bytes. "byte-level" (Qwen2): every byte has a printable stand-in, and tokens are strings of
 * those. "byte-fallback" (Yi, Llama): tokens are text with `▁` for a space, and `<0x0A>` stands for one byte.
 */
export type Spelling =
  | { kind: "byte-level" }
  | { kind: "byte-fallback"; replace: readonly { from: string; to: string }[]; strippedSpaces: number };

/** What a tokenizer.json holds, checked. */
export interface Vocabulary {
  spelling: Spelling;
  /** Token to id, added tokens included. */
  ids: ReadonlyMap<string, number>;
  /** Id to token; holes where no token has the id. */
  tokens: readonly (string | undefined)[];
  added: ReadonlyMap<string, AddedToken>;
  /** Every pair that byte-pair encoding may join, best first. No join makes an added token. */
  merges: readonly (readonly [string, string])[];
  /** The model section for the tokenizer library, without added tokens, so that no text can become one. */
  guardedModel: Json;
}

export function invalid(problem: string, cause?: unknown): OryxError {
  const remedy = "download the model's tokenizer.json and tokenizer_config.json again";
  return new OryxError("tokenizer_invalid", problem, remedy, { cause });
}

/**
 * Reads the vocabulary of a parsed tokenizer.json: byte-pair encoding over bytes, the kind that Qwen2 and Yi use.
 * @throws OryxError `tokenizer_invalid`
 */
export function parseVocabulary(tokenizer: Json, config: Json): Vocabulary {
  const model = object(tokenizer.model, "model");
  if (model.type !== "BPE") throw invalid(`the tokenizer model is ${show(model.type)}, not BPE`);
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix", "dropout"]) {
    if (model[key]) throw invalid(`the tokenizer uses model.${key}, which this version does not do`);
  }
  const base = parseBase(object(model.vocab, "model.vocab"));
  if (model.unk_token && !base.has(String(model.unk_token)))
    throw invalid("unk_token is not in the vocabulary");
  const added = parseAdded(tokenizer.added_tokens, config.added_tokens_decoder);
  const ids = new Map(base);
  const tokens: (string | undefined)[] = [];
  for (const [token, { id }] of added) {
    if ((ids.get(token) ?? id) !== id)
      throw invalid(`${show(token)} has two ids: ${ids.get(token)} and ${id}`);
    ids.set(token, id);
  }
  for (const [token, id] of ids) {
    if (tokens[id] !== undefined) throw invalid(`${show(tokens[id])} and ${show(token)} share the id ${id}`);
    tokens[id] = token;
  }
  const spelling = parseSpelling(tokenizer, model);
  for (const symbol of byteSymbols(spelling)) {
    if (!base.has(symbol)) throw invalid(`the vocabulary has no token for the byte ${show(symbol)}`);
  }
  const merges = parseMerges(model.merges, base).filter(([a, b]) => !added.has(a + b));
  const guarded = Object.fromEntries([...base].filter(([t]) => !added.has(t) || t === model.unk_token));
  return { spelling, ids, tokens, added, merges, guardedModel: { ...model, vocab: guarded, merges } };
}

/** The 256 stand-ins of byte-level tokens, by byte: printable Latin-1 stands for itself, the rest is moved up. */
export const BYTE_STAND_INS: readonly string[] = (() => {
  const isPrintable = (b: number) => (b > 0x20 && b < 0x7f) || (b > 0xa0 && b !== 0xad);
  let moved = 0x100;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(isPrintable(b) ? b : moved++));
})();

/** `<0x0A>` for 10. */
export function fallbackToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

function byteSymbols(spelling: Spelling): readonly string[] {
  return spelling.kind === "byte-level"
    ? BYTE_STAND_INS
    : Array.from({ length: 256 }, (_, b) => fallbackToken(b));
}

function parseBase(vocab: Json): Map<string, number> {
  const entries = Object.entries(vocab);
  if (entries.length > LIMITS.vocabSize) throw invalid(`the vocabulary has ${entries.length} tokens`);
  return new Map(entries.map(([token, id]) => [token, tokenId(id, token)]));
}

/** Tokens of tokenizer.json's `added_tokens` (a list) and of tokenizer_config.json's `added_tokens_decoder` (by id). */
function parseAdded(list: unknown, byId: unknown): Map<string, AddedToken> {
  if (list !== undefined && list !== null && !Array.isArray(list))
    throw invalid("added_tokens is not a list");
  const entries: Json[] = (list ?? []).map((entry: unknown) => object(entry, "an added token"));
  for (const [id, entry] of Object.entries(byId ? object(byId, "added_tokens_decoder") : {})) {
    entries.push({ ...object(entry, `added token ${id}`), id: Number(id) });
  }
  if (entries.length > LIMITS.vocabSize) throw invalid(`there are ${entries.length} added tokens`);
  const added = new Map<string, AddedToken>();
  for (const entry of entries) {
    const { content, special = false } = entry;
    if (typeof content !== "string" || content === "") throw invalid("an added token has no content");
    if (typeof special !== "boolean") throw invalid(`added token ${show(content)}: special is not a boolean`);
    const id = tokenId(entry.id, content);
    const known = added.get(content);
    if (known && known.id !== id) throw invalid(`${show(content)} has two ids: ${known.id} and ${id}`);
    const trims = entry.lstrip === true || entry.rstrip === true || entry.single_word === true;
    added.set(content, { id, special: special || known?.special === true, trims });
  }
  return added;
}

function parseMerges(list: unknown, base: ReadonlyMap<string, number>): [string, string][] {
  if (!Array.isArray(list)) throw invalid("model.merges is not a list");
  if (list.length > LIMITS.vocabMerges) throw invalid(`the tokenizer has ${list.length} merges`);
  return list.map((merge: unknown) => {
    const pair: unknown = typeof merge === "string" ? merge.split(" ") : merge;
    if (!Array.isArray(pair) || pair.length !== 2) throw invalid(`the merge ${show(merge)} is not a pair`);
    const [a, b]: unknown[] = pair;
    if (typeof a !== "string" || typeof b !== "string" || a === "" || b === "") {
      throw invalid(`the merge ${show(merge)} is not a pair of texts`);
    }
    if (!base.has(a + b)) throw invalid(`the merge ${show(merge)} makes a token that the vocabulary lacks`);
    return [a, b];
  });
}

function parseSpelling(tokenizer: Json, model: Json): Spelling {
  const decoders = steps(tokenizer.decoder, "decoder", "decoders");
  const pre = steps(tokenizer.pre_tokenizer, "pre_tokenizer", "pretokenizers");
  if (pre.some((step) => step.type === "Metaspace" && step.prepend_scheme === "first")) {
    // It looks at what stands before a text, and segments here are encoded one by one.
    throw invalid("the tokenizer puts a space before the first word only, which this version does not do");
  }
  if (decoders.some((step) => step.type === "ByteLevel")) {
    if (decoders.length !== 1 || !pre.some((step) => step.type === "ByteLevel")) {
      throw invalid("the tokenizer is only half byte-level: its pre_tokenizer and decoder do not match");
    }
    return { kind: "byte-level" };
  }
  if (model.byte_fallback !== true || !decoders.some((step) => step.type === "ByteFallback")) {
    throw invalid("the tokenizer spells bytes neither by byte-level tokens nor by byte fallback");
  }
  const replace: { from: string; to: string }[] = [];
  let strippedSpaces = 0;
  for (const step of decoders) {
    const pattern = step.pattern as { String?: unknown } | null | undefined;
    if (step.type === "Replace" && typeof pattern?.String === "string" && typeof step.content === "string") {
      replace.push({ from: pattern.String, to: step.content });
    } else if (step.type === "Strip" && step.content === " " && !step.stop && Number.isInteger(step.start)) {
      strippedSpaces += step.start as number;
    } else if (step.type !== "ByteFallback" && step.type !== "Fuse") {
      throw invalid(`the decoder step ${show(step.type)} is not known`);
    }
  }
  return { kind: "byte-fallback", replace, strippedSpaces };
}

/** A step, or the steps of a sequence, of one part of the tokenizer. */
function steps(part: unknown, name: string, listName: string): Json[] {
  if (part === null || part === undefined) return [];
  const step = object(part, name);
  if (step.type !== "Sequence") return [step];
  const list = step[listName];
  if (!Array.isArray(list)) throw invalid(`${name}.${listName} is not a list`);
  return list.map((inner: unknown) => object(inner, `a step of ${name}`));
}

function tokenId(id: unknown, token: string): number {
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= LIMITS.vocabSize) {
    throw invalid(`the token ${show(token)} has the id ${show(id)}`);
  }
  return id;
}

export function object(value: unknown, name: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(`${name} is not an object`);
  return value as Json;
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? "undefined").slice(0, 60);
}
