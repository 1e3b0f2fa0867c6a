import { DTYPE_BYTES } from "../core/dtype.ts";
import { OryxError } from "../core/errors.ts";
import { gigabytes } from "../core/figures.ts";
import type { TensorData } from "../core/tensor.ts";
import type { LanguageConfig } from "../model/config.ts";
import { kvBytes } from "../model/cost.ts";
import { CACHE_PARTS, cacheName, type KvType } from "../model/oryx.ts";
import type { DeviceTensor, InputTensor, OutputTarget } from "../runtime/session.ts";

/**
 * How a language graph takes a cache: the rows of each KV head, the new ones apart from those cached (`languageGraph`),
 * or whole, to be extended in place (`languageGraphInPlace`).
 */
export type KvForm = "rows" | "whole";

/** What a step reads and writes of a cache, and where in it the step stands, by the language graph's names. */
export interface KvBinding {
  inputs: Record<string, InputTensor>;
  outputs: Record<string, OutputTarget>;
}

/**
 * Keys and values of some tokens: rows [tokens, d] of each KV head's keys, then of each one's values, layer after
 * layer. They may be views of a cache, and then change with it.
 */
export type KvRows = readonly (Float32Array | Uint16Array)[];

/** Keys and values of one sequence, wherever they lie: steps add rows, and rows are forgotten from the end. */
export interface KvSlot {
  /** Tokens that it may hold. */
  readonly capacity: number;
  /** Tokens cached. */
  readonly length: number;
  /** Has memory for `count` more tokens, when many steps will add them. @throws OryxError `out_of_memory` */
  reserve(count: number): Promise<void>;
  /**
   * What the next step binds, when it is of `count` tokens.
   * @throws OryxError `out_of_memory`; RangeError when it cannot be had in this form
   */
  bind(count: number, form: KvForm): Promise<KvBinding>;
  /** Counts rows that a step has written as cached. */
  advance(count: number): void;
  /** Forgets everything after the first `length` tokens. */
  truncate(length: number): void;
  /** The rows of `count` tokens from the token `from` on. */
  read(from: number, count: number): Promise<KvRows>;
  /** Memory for the rows of the next `count` tokens, to be filled and then appended, or not. */
  room(count: number): KvRows;
  /** Puts rows behind what is cached, as a step would. @throws OryxError `out_of_memory` */
  append(rows: KvRows): Promise<void>;
  /** Empties the slot and gives its memory back. What gave the slot does so too when it is closed. */
  close(): Promise<void>;
}

/** Where the caches of a model lie. */
export interface KvMemory {
  /** The most tokens that one step may have. */
  readonly stepTokens: number;
  /** An empty slot. @throws OryxError `out_of_memory` */
  slot(capacity: number): KvSlot;
  close(): Promise<void>;
}

/** The keys or the values of one layer, [1, kvHeads, capacity, d]. */
interface Part {
  past: string;
  present: string;
  tensor: TensorData;
}

/** One stretch of a part: what belongs to one KV head, [capacity, d]. */
interface Block {
  past: string;
  present: string;
  rows: Float32Array | Uint16Array;
}

/**
 * A slot in this process's memory. Each KV head has its own block of rows, so that what is cached is a prefix of
 * the block and what is new lies right behind it: a step reads the one and writes the other where they are.
 */
export class HostKvSlot implements KvSlot {
  readonly capacity: number;
  readonly #type: KvType;
  readonly #d: number;
  readonly #blocks: Block[] = [];
  readonly #parts: Part[] = [];
  readonly #positions = new Positions();
  #length = 0;

  constructor(config: LanguageConfig, capacity: number, type: KvType) {
    this.capacity = capacity;
    this.#type = type;
    this.#d = config.headDim;
    for (let layer = 0; layer < config.layers; layer++) {
      for (const part of CACHE_PARTS) {
        // Untouched pages of a fresh array take no memory, so a long capacity costs only what is used of it.
        const elements = config.kvHeads * capacity * this.#d;
        const all = type === "f32" ? new Float32Array(elements) : new Uint16Array(elements);
        const shape = [1, config.kvHeads, capacity, this.#d];
        this.#parts.push({
          past: cacheName("past", layer, part),
          present: cacheName("present", layer, part),
          tensor: { dtype: type, shape, data: all } as TensorData,
        });
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

  get length(): number {
    return this.#length;
  }

  async reserve(): Promise<void> {}

  async bind(count: number, form: KvForm): Promise<KvBinding> {
    requireRoom(this, count);
    if (form === "whole") {
      if (this.#type !== "f32") throw new RangeError(`a cache of ${this.#type} is not extended in place`);
      return wholeBinding(this.#parts, this.#positions, this.#length, count);
    }
    const positions: TensorData = { dtype: "i64", shape: [count], data: counted(this.#length, count) };
    return {
      inputs: { ...this.#views("past", 0, this.#length), positions },
      outputs: this.#views("present", this.#length, count),
    };
  }

  advance(count: number): void {
    this.#length += count;
  }

  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  /** Views, not copies. */
  async read(from: number, count: number): Promise<KvRows> {
    return this.#blocks.map(({ rows }) => this.#stretch(rows, from, count));
  }

  /** Where they belong: appending them then moves nothing. */
  room(count: number): KvRows {
    requireRoom(this, count);
    return this.#blocks.map(({ rows }) => this.#stretch(rows, this.#length, count));
  }

  async append(rows: KvRows): Promise<void> {
    const count = tokensOf(rows, this.#d);
    requireRoom(this, count);
    this.#blocks.forEach((block, i) => {
      this.#stretch(block.rows, this.#length, count).set(rows[i] as Float32Array | Uint16Array);
    });
    this.advance(count);
  }

  /** The memory goes with the slot. */
  async close(): Promise<void> {
    this.truncate(0);
  }

  #stretch(rows: Block["rows"], from: number, count: number): Block["rows"] {
    return rows.subarray(from * this.#d, (from + count) * this.#d);
  }

  #views(name: "past" | "present", from: number, count: number): Record<string, TensorData> {
    const shape = [count, this.#d];
    const views: Record<string, TensorData> = {};
    for (const block of this.#blocks) {
      const data = this.#stretch(block.rows, from, count);
      views[block[name]] = { dtype: this.#type, shape, data } as TensorData;
    }
    return views;
  }
}

/** The positions of a whole cache, for step after step: to make those of a long context anew takes milliseconds. */
export class Positions {
  #made = counted(0, 0);

  /** @param total how many, from 0 on */
  of(total: number): TensorData {
    if (this.#made.length < total) this.#made = counted(0, Math.max(total, 2 * this.#made.length));
    return { dtype: "i64", shape: [total], data: this.#made.subarray(0, total) };
  }
}

/** Binds each part as it is, for a step of `count` tokens behind `cached` ones. */
export function wholeBinding(
  parts: readonly { past: string; present: string; tensor: TensorData | DeviceTensor }[],
  positions: Positions,
  cached: number,
  count: number,
): KvBinding {
  const total = cached + count;
  const place = (i: number): TensorData => ({ dtype: "i32", shape: [1], data: Int32Array.of(i) });
  return {
    inputs: {
      ...Object.fromEntries(parts.map(({ past, tensor }) => [past, tensor])),
      positions: positions.of(total),
      last: place(total - 1),
      total: place(total),
    },
    outputs: Object.fromEntries(parts.map(({ present, tensor }) => [present, tensor])),
  };
}

const counted = (from: number, count: number) =>
  BigInt64Array.from({ length: count }, (_, i) => BigInt(from + i));

/** @throws RangeError: whoever plans a request counts its tokens before */
export function requireRoom(slot: KvSlot, count: number): void {
  if (slot.length + count > slot.capacity) throw new RangeError("the cache has no room for so many tokens");
}

export const tokensOf = (rows: KvRows, d: number): number => (rows[0]?.length ?? 0) / d;

/** Caches in this process's memory. */
export class HostKvMemory implements KvMemory {
  readonly stepTokens = Number.POSITIVE_INFINITY;
  readonly #config: LanguageConfig;
  readonly #type: KvType;

  constructor(config: LanguageConfig, type: KvType) {
    this.#config = config;
    this.#type = type;
  }

  slot(capacity: number): KvSlot {
    try {
      return new HostKvSlot(this.#config, capacity, this.#type);
    } catch (cause) {
      const bytes = kvBytes(this.#config, capacity, DTYPE_BYTES[this.#type]);
      const problem = `a conversation of ${capacity} tokens takes ${gigabytes(bytes)}, which cannot be had`;
      throw new OryxError("out_of_memory", problem, "load the model with fewer contextTokens", { cause });
    }
  }

  async close(): Promise<void> {}
}

/** The slots of one model: as many sequences as it may hold at once, their memory kept and used again. */
export class KvCache {
  readonly #slots: number;
  readonly #make: () => KvSlot;
  readonly #free: KvSlot[] = [];
  #taken = 0;

  /** @param slots how many may be taken at once @param make makes an empty one */
  constructor(slots: number, make: () => KvSlot) {
    this.#slots = slots;
    this.#make = make;
  }

  /** An empty slot, to be given back. @throws OryxError `busy` when all are taken, `out_of_memory`. */
  acquire(): KvSlot {
    if (this.#taken === this.#slots) {
      const remedy = "close a conversation, or load the model with more `conversations`";
      throw new OryxError("busy", `the model already holds ${this.#slots} conversations`, remedy);
    }
    const slot = this.#free.pop() ?? this.#make();
    this.#taken++;
    return slot;
  }

  release(slot: KvSlot): void {
    slot.truncate(0);
    this.#taken--;
    this.#free.push(slot);
  }
}
