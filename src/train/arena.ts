import { OryxError } from "../core/errors.ts";
import { elementCount, type TensorData } from "../core/tensor.ts";

/** The links of the chain that is differentiated, in the order in which they compute. */
export const PARTS = ["tower", "connector", "language"] as const;
export type Part = (typeof PARTS)[number];

/** Elements to which each tensor's place is aligned: 64 bytes, a cache line and the widest vector register. */
const ALIGNMENT = 16;

/** An arena is a whole number of blocks of so many elements, so that sums over it can go block by block. */
export const BLOCK = 1024;

/** Where one parameter lies in an arena. */
export interface Slot {
  readonly name: string;
  readonly part: Part;
  readonly shape: readonly number[];
  /** In elements. */
  readonly offset: number;
  readonly size: number;
  /** Whether weight decay pulls at it: matrices, but no biases, norms or marks. */
  readonly decays: boolean;
}

/** Elements [start, end) of an arena. */
export interface Stretch {
  start: number;
  end: number;
}

const decays = (shape: readonly number[]) => shape.length > 1;

/** Which parameter lies where. What depends on the model alone is the same for values, gradients and moments. */
export class Layout {
  /** By name, in order of offset: part by part, and in each the decaying ones first. */
  readonly slots: ReadonlyMap<string, Slot>;
  /** Elements, a multiple of {@link BLOCK}. */
  readonly length: number;

  constructor(parameters: Iterable<{ name: string; part: Part; shape: readonly number[] }>) {
    const rank = (p: { part: Part; shape: readonly number[] }) =>
      2 * PARTS.indexOf(p.part) + (decays(p.shape) ? 0 : 1);
    const slots = new Map<string, Slot>();
    let offset = 0;
    for (const { name, part, shape } of [...parameters].sort((a, b) => rank(a) - rank(b))) {
      const size = elementCount(shape);
      slots.set(name, { name, part, shape, offset, size, decays: decays(shape) });
      offset += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    }
    this.slots = slots;
    this.length = Math.ceil(offset / BLOCK) * BLOCK;
  }

  /** Elements of parameters, without the gaps between them. */
  get parameters(): number {
    return [...this.slots.values()].reduce((sum, slot) => sum + slot.size, 0);
  }

  /** The stretch of one part; empty when nothing of it lies here. */
  stretch(part: Part): Stretch {
    return this.#stretchOf([...this.slots.values()].filter((slot) => slot.part === part));
  }

  /**
   * Stretches of chosen parameters that lie together, are of one part, and that weight decay pulls at or not.
   * @param chosen default: all
   */
  stretches(chosen: (slot: Slot) => boolean = () => true): (Stretch & { part: Part; decays: boolean })[] {
    const stretches: (Stretch & { part: Part; decays: boolean })[] = [];
    let open: (typeof stretches)[number] | undefined;
    for (const slot of this.slots.values()) {
      const { part, decays, offset } = slot;
      if (!chosen(slot)) {
        open = undefined;
        continue;
      }
      if (open?.part !== part || open.decays !== decays) {
        open = { start: offset, end: offset, part, decays };
        stretches.push(open);
      }
      open.end = offset + slot.size;
    }
    return stretches;
  }

  #stretchOf(slots: readonly Slot[]): Stretch {
    const [first, last] = [slots[0], slots.at(-1)];
    return first && last ? { start: first.offset, end: last.offset + last.size } : { start: 0, end: 0 };
  }
}

/** One number for each element of a layout, f32, in one stretch of memory: parameters, gradients or moments. */
export class Arena {
  readonly layout: Layout;
  readonly values: Float32Array;

  /**
   * @param memory where it lies, {@link Layout.length} elements; default: fresh zeros
   * @throws OryxError `out_of_memory`
   */
  constructor(layout: Layout, memory: Float32Array = allocate(layout.length)) {
    if (memory.length !== layout.length) throw new RangeError("the memory does not fit the layout");
    this.layout = layout;
    this.values = memory;
  }

  has(name: string): boolean {
    return this.layout.slots.has(name);
  }

  /** One parameter where it lies: what is written into it is written into the arena. */
  tensor(name: string): TensorData & { dtype: "f32" } {
    const slot = this.layout.slots.get(name);
    if (slot === undefined) throw new RangeError(`there is no parameter ${name}`);
    const data = this.values.subarray(slot.offset, slot.offset + slot.size);
    return { dtype: "f32", shape: slot.shape, data };
  }
}

function allocate(length: number): Float32Array {
  try {
    return new Float32Array(length);
  } catch (cause) {
    const problem = `${(length * 4) / 1e9} GB for parameters cannot be had`;
    throw new OryxError("out_of_memory", problem, "train fewer parameters, or use a larger machine", {
      cause,
    });
  }
}
