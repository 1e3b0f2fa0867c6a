/** A parsed JSON value. Objects have no prototype, so a key such as `__proto__` is an ordinary key. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

export interface JsonLimits {
  /** Values in all; an object and a key count for {@link OBJECT_COST} and {@link KEY_COST}, as they take more memory. */
  maxValues: number;
  /** Bytes of all strings and keys together. */
  maxTextBytes: number;
  /** Refuse numbers other than 0, 1, 2, ... written plainly, as a header of sizes should hold. */
  naturalsOnly?: boolean;
}

/** What is wrong with a JSON text, and where. Callers turn it into a coded error that names the file. */
export class JsonError extends Error {
  override readonly name = "JsonError";
}

const MAX_DEPTH = 32;
/** Memory of an empty object and of a key in one, in that of a number. */
const OBJECT_COST = 6;
const KEY_COST = 6;
const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;
const NATURAL = /^(0|[1-9][0-9]*)$/;
const LONE_SURROGATE = /\p{Surrogate}/u;
const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];

/**
 * Parses UTF-8 JSON from bytes that nobody vouches for. Unlike `JSON.parse` it refuses duplicate keys, invalid
 * UTF-8, lone surrogates and deep nesting, and bounds what it allocates by `limits`, whatever the text's length.
 * @throws JsonError
 */
export function parseJson(bytes: Uint8Array, limits: JsonLimits): Json {
  return new JsonReader(bytes, limits).document();
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

class JsonReader {
  private readonly bytes: Uint8Array;
  private readonly limits: JsonLimits;
  private readonly utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  private at = 0;
  private depth = 0;
  private values = 0;
  private textBytes = 0;

  constructor(bytes: Uint8Array, limits: JsonLimits) {
    this.bytes = bytes;
    this.limits = limits;
  }

  document(): Json {
    const value = this.value();
    this.space();
    if (this.at !== this.bytes.length) this.fail("text after the end of the value");
    return value;
  }

  private value(): Json {
    this.space();
    const byte = this.bytes[this.at];
    this.spend(byte === OPEN_BRACE ? OBJECT_COST : 1);
    if (byte === QUOTE) return this.string();
    if (byte === OPEN_BRACE) return this.nested(() => this.object());
    if (byte === OPEN_BRACKET) return this.nested(() => this.array());
    return this.literal();
  }

  private object(): JsonObject {
    const object: JsonObject = Object.create(null);
    if (this.take(CLOSE_BRACE)) return object;
    do {
      this.space();
      if (this.bytes[this.at] !== QUOTE) this.fail("a key was expected");
      this.spend(KEY_COST);
      const key = this.string();
      if (key in object) this.fail(`the key ${JSON.stringify(key.slice(0, 100))} occurs twice`);
      if (!this.take(COLON)) this.fail("a colon was expected");
      object[key] = this.value();
    } while (this.take(COMMA));
    if (!this.take(CLOSE_BRACE)) this.fail("a comma or a closing brace was expected");
    return object;
  }

  private array(): Json[] {
    const array: Json[] = [];
    if (this.take(CLOSE_BRACKET)) return array;
    do array.push(this.value());
    while (this.take(COMMA));
    if (!this.take(CLOSE_BRACKET)) this.fail("a comma or a closing bracket was expected");
    return array;
  }

  /** A string, from its opening quote; escapes are left to `JSON.parse`, which is strict about them. */
  private string(): string {
    let end = this.at + 1;
    while (end < this.bytes.length && this.bytes[end] !== QUOTE) end += this.bytes[end] === BACKSLASH ? 2 : 1;
    if (end >= this.bytes.length) this.fail("a string does not end");
    this.textBytes += end - this.at;
    if (this.textBytes > this.limits.maxTextBytes) this.fail("too much text in strings");
    try {
      const text: string = JSON.parse(this.utf8.decode(this.bytes.subarray(this.at, end + 1)));
      if (LONE_SURROGATE.test(text)) this.fail("a string holds half a surrogate pair");
      this.at = end + 1;
      return text;
    } catch (error) {
      if (error instanceof JsonError) throw error;
      return this.fail("a string is not valid UTF-8 or has a bad escape");
    }
  }

  private literal(): null | boolean | number {
    const start = this.at;
    // No number or word of ours is longer; a longer run of such bytes is refused below.
    while (this.at - start < 40 && isWordByte(this.bytes[this.at])) this.at++;
    const word = String.fromCharCode(...this.bytes.subarray(start, this.at));
    if (word === "null") return null;
    if (word === "true" || word === "false") return word === "true";
    if (!(this.limits.naturalsOnly ? NATURAL : NUMBER).test(word)) this.fail("a value was expected", start);
    return Number(word);
  }

  private nested<T>(read: () => T): T {
    if (++this.depth > MAX_DEPTH) this.fail("nested too deeply");
    this.at++;
    const value = read();
    this.depth--;
    return value;
  }

  private take(byte: number): boolean {
    this.space();
    if (this.bytes[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  private space(): void {
    for (;;) {
      const byte = this.bytes[this.at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.at++;
    }
  }

  private spend(cost: number): void {
    this.values += cost;
    if (this.values > this.limits.maxValues) this.fail("too many values");
  }

  private fail(problem: string, at = this.at): never {
    throw new JsonError(`${problem} (at byte ${at})`);
  }
}

/** Letters, digits, and the signs of numbers. */
function isWordByte(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  const letter = byte | 0x20;
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (letter >= 0x61 && letter <= 0x7a) ||
    byte === 0x2b ||
    byte === 0x2d ||
    byte === 0x2e
  );
}
