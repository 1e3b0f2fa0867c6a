import { OryxError } from "../core/errors.ts";
import type { TensorData } from "../core/tensor.ts";
import type { LanguageConfig } from "../model/config.ts";
import { cacheName } from "../model/oryx.ts";

/** One stretch of memory of a slot: the keys or the values of one KV head in one layer, f32 [capacity, d]. */
interface Block {
  past: string;
  present: string;
  rows: Float32Array;
}

/**
 * Keys and values of one sequence. Each KV head has its own block of rows, so that what is cached is a prefix of
 * the block and what is new lies right behind it: a step reads the one and writes the other where they are.
 */
export class KvSlot {
  readonly capacity: number;
  readonly #d: number;
  readonly #blocks: Block[] = [];
  #length = 0;

  constructor(config: LanguageConfig, capacity: number) {
    this.capacity = capacity;
    this.#d = config.headDim;
    for (let layer = 0; layer < config.layers; layer++) {
      for (const part of ["keys", "values"] as const) {
        // Untouched pages of a fresh array take no memory, so a long capacity costs only what is used of it.
        const all = new Float32Array(config.kvHeads * capacity * this.#d);
        for (let head = 0; head < config.kvHeads; head++) {
          const start = head * capacity * this.#d;
          this.#blocks.push({
            past: cacheName("past", layer, part, head),
            present: cacheName("present", layer, part, head),
            rows: all.subarray(start, start + capacity * this.#d),
          });
        }
      }
    }
  }

  /** Tokens cached. */
  get length(): number {
    return this.#length;
  }

  /** Inputs of the language graph: views of what is cached. */
  past(): Record<string, TensorData> {
    return this.#views("past", 0, this.#length);
  }

  /** Outputs of the language graph: views of where `count` new rows belong. */
  present(count: number): Record<string, TensorData> {
    if (this.#length + count > this.capacity) throw new RangeError("the cache has no room for this step");
    return this.#views("present", this.#length, count);
  }

  /** Counts rows that a step has written as cached. */
  advance(count: number): void {
    this.#length += count;
  }

  /** Forgets everything after the first `length` tokens. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  #views(name: "past" | "present", from: number, count: number): Record<string, TensorData> {
    const d = this.#d;
    const shape = [count, d];
    const views: Record<string, TensorData> = {};
    for (const block of this.#blocks) {
      views[block[name]] = { dtype: "f32", shape, data: block.rows.subarray(from * d, (from + count) * d) };
    }
    return views;
  }
}

/** The slots of one model: as many sequences as it may hold at once, their memory kept and used again. */
export class KvCache {
  readonly #config: LanguageConfig;
  readonly #slots: number;
  readonly #capacity: number;
  readonly #free: KvSlot[] = [];
  #taken = 0;

  constructor(config: LanguageConfig, options: { slots: number; capacity: number }) {
    this.#config = config;
    this.#slots = options.slots;
    this.#capacity = options.capacity;
  }

  /** An empty slot, to be given back. @throws OryxError `busy` when all are taken, `out_of_memory`. */
  acquire(): KvSlot {
    if (this.#taken === this.#slots) {
      const remedy = "close a conversation, or load the model with more `conversations`";
      throw new OryxError("busy", `the model already holds ${this.#slots} conversations`, remedy);
    }
    const slot = this.#free.pop() ?? this.#allocate();
    this.#taken++;
    return slot;
  }

  #allocate(): KvSlot {
    try {
      return new KvSlot(this.#config, this.#capacity);
    } catch (cause) {
      const { layers, kvHeads, headDim } = this.#config;
      const gigabytes = ((8 * layers * kvHeads * headDim * this.#capacity) / 1e9).toFixed(1);
      const problem = `a conversation of ${this.#capacity} tokens takes ${gigabytes} GB, which cannot be had`;
      throw new OryxError("out_of_memory", problem, "load the model with fewer contextTokens", { cause });
    }
  }

  release(slot: KvSlot): void {
    slot.truncate(0);
    this.#taken--;
    this.#free.push(slot);
  }
}
