import type { KvSlot } from "../engine/kv.ts";
import { argmax, Sampler } from "../engine/sampler.ts";
import type { Stretch } from "../engine/sequence.ts";
import { Detokenizer } from "../text/detokenize.ts";
import { type FramePool, markRow } from "./niah-features.ts";
import type { Shown } from "./niah-layout.ts";
import { type NiahModel, promptOf } from "./niah-model.ts";

/** A film to look at, and questions about it. */
export interface Asked {
  /** Undefined: nothing is shown. */
  film?: { shown: readonly Shown[]; pool: FramePool; pictures: readonly Float32Array[] };
  /** Leading frames that are read once and kept for the questions behind this one. */
  shared: number;
  questions: readonly { question: string; answer: string }[];
}

/** How a question was answered. */
export interface Reply {
  /** What the model said by itself. */
  got: string;
  /** Tokens of the right answer, and how many of them were the likeliest, given those before them. */
  tokens: number;
  hits: number;
}

/**
 * Asks about films that begin alike. Keys and values of what they share stay where they are: a film whose needle is
 * early costs its own frames, and one whose needle is late next to nothing, if those come first.
 */
export class Asker {
  /** Tokens of prompts that were computed, answers not counted. */
  fed = 0;
  readonly #model: NiahModel;
  readonly #slot: KvSlot;
  readonly #maxTokens: number;
  /** Frames of a pool that the slot holds behind the prompt's head and the first mark. */
  #kept: { pool: FramePool; frames: number; start: number } | undefined;

  /** @param capacity tokens that the longest prompt and its answer take */
  constructor(model: NiahModel, capacity: number, maxTokens: number) {
    this.#model = model;
    this.#maxTokens = maxTokens;
    this.#slot = model.decoder.slot(capacity);
  }

  /** Reads the first frames of a haystack, so that every film which begins with them finds them read. */
  async share(pool: FramePool, frames: number, signal?: AbortSignal): Promise<void> {
    this.#slot.truncate(0);
    this.#kept = undefined;
    const { head } = promptOf(this.#model, "", { shape: pool.shape, frames });
    await this.#feed([{ ids: head }, await this.#mark("begin")], signal);
    const start = this.#slot.length;
    const shown = Array.from({ length: frames }, (_, hay) => ({ hay }));
    await this.#feed(pool.stretches(shown, []), signal);
    this.#kept = { pool, frames, start };
  }

  /** One reply for each question. */
  async ask({ film, shared, questions }: Asked, signal?: AbortSignal): Promise<Reply[]> {
    if (film === undefined) {
      this.#slot.truncate(0);
      this.#kept = undefined;
      return this.#askAll(questions, undefined, signal);
    }
    const { shown, pool, pictures } = film;
    const kept = this.#kept;
    if (kept?.pool !== pool || kept.frames < shared) await this.share(pool, shared, signal);
    else this.#slot.truncate(kept.start + shared * pool.tokens);
    this.#kept = { ...(this.#kept as NonNullable<typeof kept>), frames: shared };
    await this.#feed([...pool.stretches(shown.slice(shared), pictures), await this.#mark("end")], signal);
    return this.#askAll(questions, { shape: pool.shape, frames: shown.length }, signal);
  }

  /** Gives the memory of keys and values back. */
  close(): Promise<void> {
    return this.#slot.close();
  }

  async #askAll(
    questions: Asked["questions"],
    seen: Parameters<typeof promptOf>[2],
    signal: AbortSignal | undefined,
  ): Promise<Reply[]> {
    const before = this.#slot.length;
    const replies: Reply[] = [];
    for (const { question, answer } of questions) {
      const { head, tail } = promptOf(this.#model, question, seen);
      const logits = await this.#feed([{ ids: seen === undefined ? head : tail }], signal);
      const expected = this.#model.tokenizer.encode(answer);
      const hits = await this.#force(logits, expected, signal);
      replies.push({ got: await this.#generate(logits, signal), tokens: expected.length, hits });
      this.#slot.truncate(before);
    }
    return replies;
  }

  /** How many of the answer's tokens are the likeliest, with the right ones fed before each. */
  async #force(first: Float32Array, ids: readonly number[], signal?: AbortSignal): Promise<number> {
    const { decoder } = this.#model;
    const before = this.#slot.length;
    let hits = 0;
    let logits = first;
    for (const [i, id] of ids.entries()) {
      if (argmax(logits) === id) hits++;
      // Token by token, as answers are generated: kernels for several at once may round otherwise.
      if (i + 1 < ids.length) logits = await decoder.next(this.#slot, id, signal);
    }
    this.#slot.truncate(before);
    return hits;
  }

  /** The likeliest token again and again, up to the model's own end. */
  async #generate(first: Float32Array, signal?: AbortSignal): Promise<string> {
    const { decoder, tokenizer, stopIds } = this.#model;
    const before = this.#slot.length;
    const sampler = new Sampler();
    const detokenizer = new Detokenizer(tokenizer.pieces);
    let [text, logits] = ["", first];
    for (let tokens = 1; ; tokens++) {
      const id = sampler.next(logits);
      if (stopIds.has(id)) break;
      text += detokenizer.push(id);
      if (tokens === this.#maxTokens) break;
      logits = await decoder.next(this.#slot, id, signal);
    }
    this.#slot.truncate(before);
    return text + detokenizer.flush();
  }

  async #feed(sequence: readonly Stretch[], signal: AbortSignal | undefined): Promise<Float32Array> {
    const before = this.#slot.length;
    const logits = await this.#model.decoder.prefill(this.#slot, sequence, { signal });
    this.fed += this.#slot.length - before;
    return logits;
  }

  async #mark(mark: "begin" | "end"): Promise<Stretch> {
    return { visual: await markRow(this.#model.encoder, mark), count: 1 };
  }
}
