import type { TensorData } from "../core/tensor.ts";
import { Turns } from "../core/turns.ts";
import type { LanguageConfig } from "../model/config.ts";
import type { InputTensor, OutputTarget, Session } from "../runtime/session.ts";
import type { KvForm, KvMemory, KvSlot } from "./kv.ts";
import { type Chunk, chunks, type Stretch, sequenceLength } from "./sequence.ts";

/** Tokens of one prefill step at most: beyond this, products gain nothing from more rows. */
const LONGEST_CHUNK = 256;
/**
 * Bytes that one KV head's attention scores may take in a step, where they are all there at a time: chunks shrink as the
 * context grows. The kernels that extend a cache in place go through it in tiles, and have the scores of one.
 */
const SCORE_BYTES = 64e6;

/** Tokens of one step up to which the bytes of the weights decide, and not the arithmetic. */
const LONGEST_DECODE = 4;

/** A language graph that is loaded, and how it takes the cache. */
export interface LanguageSession {
  session: Session;
  form: KvForm;
}

/** Language graphs for many tokens at once and for few; both may be one. */
export interface DecoderSessions {
  prefill: LanguageSession;
  decode: LanguageSession;
}

/** What a prefill tells while it works: tokens done of all. */
export type PrefillProgress = (done: number, total: number) => void;

/** The language model at work: sequences in, logits out, with what was seen kept in slots. */
export class Decoder {
  readonly config: LanguageConfig;
  readonly #sessions: DecoderSessions;
  readonly #memory: KvMemory;
  readonly #turns = new Turns();

  /** @param memory where the sessions' graph has its cache */
  constructor(sessions: DecoderSessions, config: LanguageConfig, memory: KvMemory) {
    this.#sessions = sessions;
    this.#memory = memory;
    this.config = config;
  }

  /** The most tokens that one step may have. */
  get stepTokens(): number {
    return this.#memory.stepTokens;
  }

  /** All that decides which tokens go through the model together, and so how sums are rounded. */
  get chunking(): string {
    const { form } = this.#sessions.prefill;
    return [form, LONGEST_CHUNK, SCORE_BYTES, LONGEST_DECODE, this.stepTokens].join(" ");
  }

  /** An empty slot for sequences of up to `capacity` tokens; to be closed. @throws OryxError `out_of_memory` */
  slot(capacity: number): KvSlot {
    return this.#memory.slot(capacity);
  }

  /** Does `work` with an empty slot, and gives its memory back. */
  async withSlot<T>(capacity: number, work: (slot: KvSlot) => Promise<T>): Promise<T> {
    const slot = this.slot(capacity);
    try {
      return await work(slot);
    } finally {
      await slot.close();
    }
  }

  /**
   * Does `work` while nothing else is computed here: others wait as for a step. What it computes, it asks of the
   * decoder that it is given; this one would wait for it.
   */
  alone<T>(work: (decoder: Decoder) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#turns.take(() => work(new Decoder(this.#sessions, this.config, this.#memory)), signal);
  }

  /**
   * Feeds a sequence behind what the slot holds. @returns logits [vocabulary] after its last token.
   * When it rejects, the slot holds a prefix of the sequence: truncate it.
   */
  async prefill(
    slot: KvSlot,
    sequence: readonly Stretch[],
    options: { signal?: AbortSignal | undefined; onProgress?: PrefillProgress; chunkTokens?: number } = {},
  ): Promise<Float32Array> {
    const total = sequenceLength(sequence);
    const start = slot.length;
    const longest = options.chunkTokens ?? LONGEST_CHUNK;
    const sizeAt = (done: number) => Math.min(longest, this.#chunkTokens(start + done));
    let logits: Float32Array = new Float32Array(0);
    await slot.reserve(total);
    for (const chunk of chunks(sequence, this.config.hiddenSize, sizeAt)) {
      const last = slot.length - start + chunk.order.length === total;
      logits = await this.step(slot, chunk, last ? [chunk.order.length - 1] : [], options.signal);
      options.onProgress?.(slot.length - start, total);
    }
    return logits;
  }

  /** Feeds one token. @returns logits [vocabulary] */
  next(slot: KvSlot, id: number, signal?: AbortSignal): Promise<Float32Array> {
    const chunk = {
      ids: BigInt64Array.of(BigInt(id)),
      visual: new Float32Array(0),
      visuals: 0,
      order: BigInt64Array.of(0n),
    };
    return this.step(slot, chunk, [0], signal);
  }

  /** Feeds one chunk, of {@link stepTokens} at most. @returns logits [rows, vocabulary] at the given places of the chunk. */
  async step(
    slot: KvSlot,
    chunk: Chunk,
    rows: readonly number[],
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    const length = chunk.order.length;
    if (length > this.stepTokens) throw new RangeError(`a step of ${length} tokens is too long`);
    const { hiddenSize, vocabSize } = this.config;
    const logits = new Float32Array(rows.length * vocabSize);
    await this.#turns.take(async () => {
      const { session, form } = length > LONGEST_DECODE ? this.#sessions.prefill : this.#sessions.decode;
      const cache = await slot.bind(length, form);
      const inputs: Record<string, InputTensor> = {
        ...cache.inputs,
        ids: { dtype: "i64", shape: [chunk.ids.length], data: chunk.ids },
        visual: { dtype: "f32", shape: [chunk.visuals, hiddenSize], data: chunk.visual },
        order: { dtype: "i64", shape: [length], data: chunk.order },
        rows: integers(rows.length, (i) => rows[i] as number),
      };
      const outputs: Record<string, OutputTarget> = {
        ...cache.outputs,
        logits: { dtype: "f32", shape: [rows.length, vocabSize], data: logits },
      };
      await session.run(inputs, outputs, { signal });
    }, signal);
    slot.advance(length);
    return logits;
  }

  async close(): Promise<void> {
    await this.#sessions.prefill.session.close();
    await this.#sessions.decode.session.close();
    await this.#memory.close();
  }

  #chunkTokens(cached: number): number {
    if (this.#sessions.prefill.form === "whole") return this.stepTokens;
    const group = this.config.heads / this.config.kvHeads;
    const affordable = Math.floor(SCORE_BYTES / (4 * group * (cached + LONGEST_CHUNK)));
    return Math.min(this.stepTokens, Math.max(16, affordable));
  }
}

function integers(length: number, at: (i: number) => number): TensorData {
  return { dtype: "i64", shape: [length], data: BigInt64Array.from({ length }, (_, i) => BigInt(at(i))) };
}
