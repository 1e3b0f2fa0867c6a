import { DTYPE_BYTES } from "../core/dtype.ts";
import { OryxError } from "../core/errors.ts";
import type { TensorData } from "../core/tensor.ts";
import type { LanguageConfig } from "../model/config.ts";
import { cacheName, type KvType } from "../model/oryx.ts";

/** One stretch of memory of a slot: the keys or the values of one KV head in one layer, [capacity, d]. */
interface Block {
  past: string;
  present: string;
  rows: Float32Array | Uint16Array;
}

/** What a cache holds: `slots` sequences of up to `capacity` tokens each, in a type. */
export interface KvShape {
  slots: number;
  capacity: number;
  type: KvType;
}

/**
 * Keys and values of one sequence. Each KV head has its own block of rows, so that what is cached is a prefix of
 * the block and what is new lies right behind it: a step reads the one and writes the other where they are.
 */
export class KvSlot {
  readonly capacity: number;
  readonly #type: KvType;
  readonly #d: number;
  readonly #blocks: Block[] = [];
  #length = 0;

  constructor(config: LanguageConfig, capacity: number, type: KvType = "f32") {
    this.capacity = capacity;
    this.#type = type;
    this.#d = config.headDim;
    for (let layer = 0; layer < config.layers; layer++) {
      for (const part of ["keys", "values"] as const) {
        // Untouched pages of a fresh array take no memory, so a long capacity costs only what is used of it.
        const elements = config.kvHeads * capacity * this.#d;
        const all = type === "f32" ? new Float32Array(elements) : new Uint16Array(elements);
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
      const data = block.rows.subarray(from * d, (from + count) * d);
      views[block[name]] = { dtype: this.#type, shape, data } as TensorData;
    }
    return views;
  }
}

/** The slots of one model: as many sequences as it may hold at once, their memory kept and used again. */
export class KvCache {
  readonly #config: LanguageConfig;
  readonly #shape: KvShape;
  readonly #free: KvSlot[] = [];
  #taken = 0;

  constructor(config: LanguageConfig, shape: KvShape) {
    this.#config = config;
    this.#shape = shape;
  }

  /** An empty slot, to be given back. @throws OryxError `busy` when all are taken, `out_of_memory`. */
  acquire(): KvSlot {
    if (this.#taken === this.#shape.slots) {
      const remedy = "close a conversation, or load the model with more `conversations`";
      throw new OryxError("busy", `the model already holds ${this.#shape.slots} conversations`, remedy);
    }
    const slot = this.#free.pop() ?? this.#allocate();
    this.#taken++;
    return slot;
  }

  #allocate(): KvSlot {
    try {
      return new KvSlot(this.#config, this.#shape.capacity, this.#shape.type);
    } catch (cause) {
      const { layers, kvHeads, headDim } = this.#config;
      const { capacity, type } = this.#shape;
      const bytes = 2 * layers * kvHeads * headDim * capacity * DTYPE_BYTES[type];
      const gigabytes = (bytes / 1e9).toFixed(1);
      const problem = `a conversation of ${capacity} tokens takes ${gigabytes} GB, which cannot be had`;
      throw new OryxError("out_of_memory", problem, "load the model with fewer contextTokens", { cause });
    }
  }

  release(slot: KvSlot): void {
    slot.truncate(0);
    this.#taken--;
    this.#free.push(slot);
  }
}
