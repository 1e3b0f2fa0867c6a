import { LIMITS } from "../core/limits.ts";

/**
 * A pickle machine for state dicts: the instructions of protocols 2 to 5 that plain data need, and nothing more.
 * A pickle is a program. Here it can build dicts, lists, tuples, strings and numbers, and call only what the host
 * hands out by name; what it builds are Maps, arrays and tuples of ours, so no key of it is ever a property.
 * (The published JavaScript readers loop for ever on a negative length, assign attributes to any object and push
 * with spread; so this one is written anew.)
 * @see https://github.com/python/cpython/blob/main/Lib/pickletools.py for the instructions
 */
export function unpickle(bytes: Uint8Array, host: PickleHost): unknown {
  return new Machine(bytes, host).run();
}

/** What a pickle can reach outside itself. Both throw {@link PickleError} for what they do not know. */
export interface PickleHost {
  /** The object that stands for `module.name`; a pickle can call it when it is a {@link PickleFunction}. */
  global(module: string, name: string): object;
  /** The object that a persistent id stands for. */
  persistent(id: unknown): object;
}

/** A host's function that a pickle may call. */
export class PickleFunction {
  readonly call: (args: readonly unknown[]) => unknown;

  constructor(call: (args: readonly unknown[]) => unknown) {
    this.call = call;
  }
}

/** A tuple, kept apart from a list, which is an array here. */
export class PickleTuple {
  readonly items: readonly unknown[];

  constructor(items: readonly unknown[]) {
    this.items = items;
  }
}

/** What is wrong with a pickle. Callers turn it into a coded error that names the file. */
export class PickleError extends Error {
  override readonly name = "PickleError";
}

export type PickleDict = Map<unknown, unknown>;

const STOP = 0x2e;

class Machine {
  readonly stack: unknown[] = [];
  readonly memo = new Map<number, unknown>();
  readonly host: PickleHost;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly marks: number[] = [];
  private readonly utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  private at = 0;

  constructor(bytes: Uint8Array, host: PickleHost) {
    this.bytes = bytes;
    this.host = host;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): unknown {
    if (this.u8() !== 0x80) throw new PickleError("not a pickle of protocol 2 or later");
    if (![2, 3, 4, 5].includes(this.u8())) throw new PickleError("a pickle protocol that is not known here");
    for (let ops = 0; ; ops++) {
      if (ops > LIMITS.pickleOps) throw new PickleError(`more than ${LIMITS.pickleOps} instructions`);
      const code = this.u8();
      if (code === STOP) return this.result();
      const op = OPS.get(code);
      if (!op)
        throw new PickleError(`instruction 0x${code.toString(16)} at byte ${this.at - 1} is not allowed`);
      op(this);
    }
  }

  private result(): unknown {
    if (this.stack.length !== 1 || this.marks.length !== 0) throw new PickleError("it stops in the middle");
    if (this.at !== this.bytes.length) throw new PickleError("bytes follow its end");
    return this.stack[0];
  }

  push(value: unknown): void {
    this.stack.push(value);
  }

  pop(): unknown {
    if (this.stack.length <= (this.marks.at(-1) ?? 0)) throw new PickleError("it takes from an empty stack");
    return this.stack.pop();
  }

  top(): unknown {
    const value = this.pop();
    this.stack.push(value);
    return value;
  }

  mark(): void {
    this.marks.push(this.stack.length);
  }

  /** Everything above the last mark, which goes with it. */
  popToMark(): unknown[] {
    const mark = this.marks.pop();
    if (mark === undefined) throw new PickleError("it takes to a mark that is not there");
    return this.stack.splice(mark);
  }

  recall(index: number): void {
    if (!this.memo.has(index)) throw new PickleError(`it recalls memo ${index}, which was never set`);
    this.push(this.memo.get(index));
  }

  /** Start of the next `length` bytes, once they are known to be there. */
  private skip(length: number): number {
    const start = this.at;
    if (!(length <= this.bytes.length - start)) throw new PickleError("it ends too early");
    this.at += length;
    return start;
  }

  u8 = (): number => this.view.getUint8(this.skip(1));
  u16 = (): number => this.view.getUint16(this.skip(2), true);
  u32 = (): number => this.view.getUint32(this.skip(4), true);
  i32 = (): number => this.view.getInt32(this.skip(4), true);
  u64 = (): number => Number(this.view.getBigUint64(this.skip(8), true));
  f64 = (): number => this.view.getFloat64(this.skip(8), false);

  /** Little endian, two's complement, of at most 8 bytes, and small enough for a number. */
  long(length: number): number {
    if (length > 8) throw new PickleError(`an integer of ${length} bytes`);
    const start = this.skip(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.view.getUint8(start + i));
    const number = Number(BigInt.asIntN(8 * length, value));
    if (!Number.isSafeInteger(number)) throw new PickleError("an integer that is too large");
    return number;
  }

  text(length: number): string {
    const start = this.skip(length);
    try {
      return this.utf8.decode(this.bytes.subarray(start, this.at));
    } catch {
      throw new PickleError(`a string at byte ${start} is not UTF-8`);
    }
  }

  line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0) throw new PickleError("it ends too early");
    const text = this.text(end - this.at);
    this.at++;
    return text;
  }
}

/** What each allowed instruction does; the names in the comments are those of Python's pickletools. */
const OPS: ReadonlyMap<number, (m: Machine) => void> = new Map<number, (m: Machine) => void>([
  [0x95, (m) => void m.u64()], // FRAME: a hint for readers of streams
  [0x28, (m) => m.mark()], // MARK
  [0x30, (m) => void m.pop()], // POP
  [0x31, (m) => void m.popToMark()], // POP_MARK
  [0x32, (m) => m.push(m.top())], // DUP
  [0x71, (m) => void m.memo.set(m.u8(), m.top())], // BINPUT
  [0x72, (m) => void m.memo.set(m.u32(), m.top())], // LONG_BINPUT
  [0x94, (m) => void m.memo.set(m.memo.size, m.top())], // MEMOIZE
  [0x68, (m) => m.recall(m.u8())], // BINGET
  [0x6a, (m) => m.recall(m.u32())], // LONG_BINGET
  [0x4e, (m) => m.push(null)], // NONE
  [0x88, (m) => m.push(true)], // NEWTRUE
  [0x89, (m) => m.push(false)], // NEWFALSE
  [0x4a, (m) => m.push(m.i32())], // BININT
  [0x4b, (m) => m.push(m.u8())], // BININT1
  [0x4d, (m) => m.push(m.u16())], // BININT2
  [0x8a, (m) => m.push(m.long(m.u8()))], // LONG1
  [0x47, (m) => m.push(m.f64())], // BINFLOAT
  [0x58, (m) => m.push(m.text(m.u32()))], // BINUNICODE
  [0x8c, (m) => m.push(m.text(m.u8()))], // SHORT_BINUNICODE
  [0x8d, (m) => m.push(m.text(m.u64()))], // BINUNICODE8
  [0x29, (m) => m.push(new PickleTuple([]))], // EMPTY_TUPLE
  [0x85, (m) => pushTuple(m, 1)], // TUPLE1
  [0x86, (m) => pushTuple(m, 2)], // TUPLE2
  [0x87, (m) => pushTuple(m, 3)], // TUPLE3
  [0x74, (m) => m.push(new PickleTuple(m.popToMark()))], // TUPLE
  [0x5d, (m) => m.push([])], // EMPTY_LIST
  [0x6c, (m) => m.push(m.popToMark())], // LIST
  [0x61, (m) => append(m, [m.pop()])], // APPEND
  [0x65, (m) => append(m, m.popToMark())], // APPENDS
  [0x7d, (m) => m.push(new Map())], // EMPTY_DICT
  [0x73, setItem], // SETITEM
  [0x75, (m) => setItems(m, m.popToMark())], // SETITEMS
  [0x63, (m) => m.push(m.host.global(m.line(), m.line()))], // GLOBAL
  [0x93, stackGlobal], // STACK_GLOBAL
  [0x51, (m) => m.push(m.host.persistent(m.pop()))], // BINPERSID
  [0x52, reduce], // REDUCE
  [0x62, build], // BUILD
]);

function pushTuple(m: Machine, length: number): void {
  const items = Array.from({ length }, () => m.pop());
  m.push(new PickleTuple(items.reverse()));
}

function append(m: Machine, items: readonly unknown[]): void {
  const list = m.top();
  if (!Array.isArray(list)) throw new PickleError("it appends to something that is no list");
  for (const item of items) list.push(item);
}

function setItem(m: Machine): void {
  const value = m.pop();
  setItems(m, [m.pop(), value]);
}

/** Keys are strings or numbers, as state dicts have them; none may come twice. */
function setItems(m: Machine, pairs: readonly unknown[]): void {
  const dict = m.top();
  if (!(dict instanceof Map)) throw new PickleError("it sets an item of something that is no dict");
  if (pairs.length % 2 !== 0) throw new PickleError("a key has no value");
  for (let i = 0; i < pairs.length; i += 2) {
    const key = pairs[i];
    if (typeof key !== "string" && typeof key !== "number")
      throw new PickleError("a key is no string or number");
    if (dict.has(key)) throw new PickleError(`the key ${JSON.stringify(key).slice(0, 100)} occurs twice`);
    dict.set(key, pairs[i + 1]);
  }
}

function stackGlobal(m: Machine): void {
  const name = m.pop();
  const module = m.pop();
  if (typeof module !== "string" || typeof name !== "string") throw new PickleError("a name is no string");
  m.push(m.host.global(module, name));
}

function reduce(m: Machine): void {
  const args = m.pop();
  const callee = m.pop();
  if (!(callee instanceof PickleFunction)) throw new PickleError("it calls something that is no function");
  if (!(args instanceof PickleTuple)) throw new PickleError("it calls with arguments that are no tuple");
  m.push(callee.call(args.items));
}

/** Attributes of an ordered dict (a state dict's `_metadata`) are dropped; nothing else may have any. */
function build(m: Machine): void {
  const state = m.pop();
  if (!(m.top() instanceof Map && state instanceof Map))
    throw new PickleError("it sets attributes of an object");
}
