import { OryxError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { isObject, type Json, type JsonObject } from "../../weights/json.ts";

/** One record of a file of questions, of which nothing is known yet. What it lacks is told with its place. */
export class Fields {
  /** The key under which it stands, in a file that is one object. */
  readonly key: string | undefined;
  /** Names it for people: its file, and line or number. */
  readonly place: string;
  readonly #fields: JsonObject;

  constructor(fields: JsonObject, place: string, key?: string) {
    this.#fields = fields;
    this.place = place;
    this.key = key;
  }

  /** Whether it has all of these fields, none of them null. */
  has(...names: readonly string[]): boolean {
    return names.every((name) => (this.#fields[name] ?? null) !== null);
  }

  /** A text that is not empty; numbers count as texts, as ids often are. */
  text(...names: readonly string[]): string {
    return this.optional(...names) ?? this.fail(`has no ${names[0]}`);
  }

  /** The first of these fields that is there, as a text. Empty ones count as absent. */
  optional(...names: readonly string[]): string | undefined {
    const name = names.find((n) => this.has(n));
    if (name === undefined) return undefined;
    const value = this.#fields[name] as Json;
    if (typeof value === "number") return String(value);
    if (typeof value !== "string") return this.fail(`its ${name} is no text`);
    if (value.length > LIMITS.promptChars) return this.fail(`its ${name} is too long`);
    return value.trim() === "" ? undefined : value;
  }

  /** A short text, as names and ids are. */
  name(...names: readonly string[]): string {
    const value = this.text(...names);
    if (value.length <= LIMITS.nameChars && !value.includes("\0")) return value;
    return this.fail(`its ${names[0]} is too long for a name`);
  }

  number(name: string): number | undefined {
    const text = this.optional(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    return Number.isFinite(value) ? value : this.fail(`its ${name} is no number`);
  }

  /** The first of these fields that is there, as a list of texts; one text is a list of one. */
  texts(...names: readonly string[]): string[] {
    const name = names.find((n) => this.has(n));
    if (name === undefined) return [];
    const value = this.#fields[name] as Json;
    const list = Array.isArray(value) ? value : [value];
    if (list.length > LIMITS.mediaPerRequest) return this.fail(`its ${name} has too many entries`);
    return list.map((entry) => {
      if (typeof entry === "string" || typeof entry === "number") return String(entry);
      return this.fail(`its ${name} has something that is no text`);
    });
  }

  /** The records in a field that is a list of objects. */
  records(name: string): Fields[] {
    const value = this.#fields[name];
    if (!Array.isArray(value)) return this.fail(`its ${name} is no list`);
    return value.map((entry, i) => {
      if (!isObject(entry)) return this.fail(`its ${name} has something that is no object`);
      return new Fields(entry, `${this.place}, ${name} ${i + 1}`, this.key);
    });
  }

  /** The object in a field. */
  record(name: string): Fields | undefined {
    const value = this.#fields[name];
    return isObject(value) ? new Fields(value, `${this.place}, ${name}`, this.key) : undefined;
  }

  /** Names of its fields. */
  get names(): string[] {
    return Object.keys(this.#fields);
  }

  fail(problem: string): never {
    throw new OryxError("questions_invalid", `${this.place}: ${problem}`, "mend the file, or leave it out");
  }
}
