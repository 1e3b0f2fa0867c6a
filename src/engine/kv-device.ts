import type { TensorData } from "../core/tensor.ts";
import { symbol } from "../graph/dim.ts";
import { concat, expand, scalar, slice } from "../graph/ops.ts";
import { type Graph, input } from "../graph/tensor.ts";
import type { LanguageConfig } from "../model/config.ts";
import { CACHE_PARTS, cacheName } from "../model/oryx.ts";
import { emitOnnx } from "../onnx/emit.ts";
import type { DeviceTensor, InputTensor, Runtime, Session } from "../runtime/session.ts";
import {
  type KvBinding,
  type KvForm,
  type KvMemory,
  type KvRows,
  type KvSlot,
  Positions,
  requireRoom,
  tokensOf,
  wholeBinding,
} from "./kv.ts";

/** Memory is asked for so many tokens at a time, and for a share more than are there, so that it seldom has to move. */
const TOKENS_AT_A_TIME = 512;
const SPARE = 0.25;

/**
 * Keys or values [1, kvHeads, held, d] as they leave the device or get other memory there: the tokens [from, to) of
 * them, then `rows` [1, kvHeads, added, d], then room for more.
 * Inputs: `cache`, `rows`, and the i64 scalars `from`, `to`, `room`. Outputs: `moved`.
 */
function movingGraph({ kvHeads, headDim }: LanguageConfig): Graph {
  const rowsOf = (count: string) => [1, kvHeads, symbol(count), headDim];
  const kept = slice(input("cache", "f32", rowsOf("held")), symbol("from"), symbol("to"), 2);
  const room = expand(scalar(0, "f32"), rowsOf("room"));
  const moved = concat([kept, input("rows", "f32", rowsOf("added")), room], 2);
  return { outputs: { moved }, sizes: ["from", "to", "room"] };
}

/** Caches in the memory of the runtime's device: steps work on them where they are. */
export class DeviceKvMemory implements KvMemory {
  readonly stepTokens: number;
  readonly #config: LanguageConfig;
  readonly #mover: Session;

  /** @param stepTokens up to how many tokens a step attends rightly over such a cache */
  static async create(runtime: Runtime, config: LanguageConfig, stepTokens: number): Promise<DeviceKvMemory> {
    return new DeviceKvMemory(await runtime.load(emitOnnx(movingGraph(config))), config, stepTokens);
  }

  private constructor(mover: Session, config: LanguageConfig, stepTokens: number) {
    this.#mover = mover;
    this.#config = config;
    this.stepTokens = stepTokens;
  }

  slot(capacity: number): KvSlot {
    return new DeviceKvSlot(this.#mover, this.#config, capacity);
  }

  /** Frees the memory of every slot as well. */
  close(): Promise<void> {
    return this.#mover.close();
  }
}

/** The keys or the values of one layer, [1, kvHeads, held, d]. */
interface Part {
  past: string;
  present: string;
  tensor: DeviceTensor | undefined;
}

/** A part that has memory. */
type Held = Part & { tensor: DeviceTensor };

/**
 * A slot on the device. Its memory grows with what it holds, since a device gives all that is asked for at once; a
 * part at a time is moved, so that little more is taken meanwhile.
 */
class DeviceKvSlot implements KvSlot {
  readonly capacity: number;
  readonly #mover: Session;
  readonly #heads: number;
  readonly #d: number;
  readonly #parts: Part[];
  /** No rows. */
  readonly #none: TensorData;
  readonly #positions = new Positions();
  #length = 0;

  constructor(mover: Session, config: LanguageConfig, capacity: number) {
    this.#mover = mover;
    this.capacity = capacity;
    this.#heads = config.kvHeads;
    this.#d = config.headDim;
    this.#none = this.#rows(new Float32Array(0), 0);
    const layers = Array.from({ length: config.layers }, (_, layer) => layer);
    this.#parts = layers.flatMap((layer) =>
      CACHE_PARTS.map((part) => ({
        past: cacheName("past", layer, part),
        present: cacheName("present", layer, part),
        tensor: undefined,
      })),
    );
  }

  get length(): number {
    return this.#length;
  }

  async reserve(count: number): Promise<void> {
    requireRoom(this, count);
    for (const part of this.#parts) await this.#reserved(part, this.#length + count);
  }

  async bind(count: number, form: KvForm): Promise<KvBinding> {
    requireRoom(this, count);
    if (form !== "whole") throw new RangeError("a cache on the device is bound whole");
    const parts: Held[] = [];
    for (const part of this.#parts) {
      parts.push({ ...part, tensor: await this.#reserved(part, this.#length + count) });
    }
    return wholeBinding(parts, this.#positions, this.#length, count);
  }

  advance(count: number): void {
    this.#length += count;
  }

  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  async read(from: number, count: number): Promise<KvRows> {
    const parts = this.#parts.map(() => new Float32Array(this.#heads * count * this.#d));
    for (const [i, { tensor }] of this.#parts.entries()) {
      if (tensor === undefined || count === 0) continue;
      const target = this.#rows(parts[i] as Float32Array, count);
      await this.#move(tensor, from, from + count, this.#none, target);
    }
    return this.#byHead(parts, count);
  }

  room(count: number): KvRows {
    requireRoom(this, count);
    return this.#byHead(
      this.#parts.map(() => new Float32Array(this.#heads * count * this.#d)),
      count,
    );
  }

  async append(rows: KvRows): Promise<void> {
    const count = tokensOf(rows, this.#d);
    requireRoom(this, count);
    for (const [i, part] of this.#parts.entries()) {
      const together = new Float32Array(this.#heads * count * this.#d);
      for (let head = 0; head < this.#heads; head++) {
        together.set(rows[i * this.#heads + head] as Float32Array, head * count * this.#d);
      }
      await this.#replace(part, this.#length + count, this.#rows(together, count));
    }
    this.advance(count);
  }

  async close(): Promise<void> {
    this.truncate(0);
    const tensors = this.#parts.map(({ tensor }) => tensor);
    for (const part of this.#parts) part.tensor = undefined;
    await Promise.all(tensors.map((tensor) => tensor?.close()));
  }

  /** A part's memory, which has room for so many tokens. */
  async #reserved(part: Part, total: number): Promise<DeviceTensor> {
    const held = part.tensor?.shape[2] ?? 0;
    if (part.tensor !== undefined && held >= total) return part.tensor;
    return this.#replace(part, total, this.#none);
  }

  #tokensFor(total: number): number {
    const tokens = Math.ceil((total * (1 + SPARE)) / TOKENS_AT_A_TIME) * TOKENS_AT_A_TIME;
    return Math.min(tokens, this.capacity);
  }

  /** Gives a part other memory for `total` tokens or more, with what is cached and the rows behind it. */
  async #replace(part: Part, total: number, rows: TensorData): Promise<DeviceTensor> {
    const before = part.tensor;
    const tensor = await this.#mover.allocate("f32", [1, this.#heads, this.#tokensFor(total), this.#d]);
    try {
      await this.#move(before ?? this.#none, 0, this.#length, rows, tensor);
    } catch (error) {
      await tensor.close();
      throw error;
    }
    part.tensor = tensor;
    await before?.close();
    return tensor;
  }

  /** Each head's rows [count, d] of parts [kvHeads, count, d]. */
  #byHead(parts: readonly Float32Array[], count: number): Float32Array[] {
    const size = count * this.#d;
    const heads = Array.from({ length: this.#heads }, (_, head) => head);
    return parts.flatMap((part) => heads.map((head) => part.subarray(head * size, (head + 1) * size)));
  }

  /** Puts the tokens [from, to) of a tensor, with rows and room behind them, wherever the target is. */
  async #move(
    cache: InputTensor,
    from: number,
    to: number,
    rows: TensorData,
    target: DeviceTensor | TensorData,
  ): Promise<void> {
    const room = (target.shape[2] as number) - (to - from) - (rows.shape[2] as number);
    const sizes = { from: size(from), to: size(to), room: size(room) };
    await this.#mover.run({ cache, rows, ...sizes }, { moved: target });
  }

  /** A part's rows [1, kvHeads, count, d] in memory. */
  #rows(data: Float32Array, count: number): TensorData {
    return { dtype: "f32", shape: [1, this.#heads, count, this.#d], data };
  }
}

const size = (n: number): TensorData => ({ dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(n)) });
