import type { TensorData } from "../core/tensor.ts";
import { symbol } from "../graph/dim.ts";
import { add } from "../graph/ops.ts";
import { input } from "../graph/tensor.ts";
import { emitOnnx } from "../onnx/emit.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import { Arena, type Layout, type Part } from "./arena.ts";

/** Gradients of trained parameters, added up over the runs of a step and over several calls. */
export class GradientSums {
  readonly arena: Arena;
  readonly #adder: Session;
  /**
   * What runs of each part have written into and others may now. Memory that is never written is never taken from the
   * system, so an arena of one part alone costs no more than that part.
   */
  readonly #free: Readonly<Record<Part, Arena[]>> = { tower: [], connector: [], language: [] };
  /** Parts of which the arena holds something, or will when the run is done that writes into it. */
  readonly #begun = new Set<Part>();

  private constructor(arena: Arena, adder: Session) {
    this.arena = arena;
    this.#adder = adder;
  }

  static async load(layout: Layout, runtime: Runtime): Promise<GradientSums> {
    const [a, b] = [input("a", "f32", [symbol("n")]), input("b", "f32", [symbol("n")])];
    const adder = await runtime.load(emitOnnx({ outputs: { sum: add(a, b) }, sizes: [] }));
    return new GradientSums(new Arena(layout), adder);
  }

  /** Where a run of a part writes its gradients: the first of a step into the sums themselves. */
  target(part: Part): Arena {
    if (!this.#begun.has(part)) {
      this.#begun.add(part);
      return this.arena;
    }
    return this.#free[part].pop() ?? new Arena(this.arena.layout);
  }

  /** Adds what a run has written. Takes are in the order of the targets, one at a time. */
  async take(part: Part, written: Arena): Promise<void> {
    if (written === this.arena) return;
    const { start, end } = this.arena.layout.stretch(part);
    const whole = (arena: Arena): TensorData => ({
      dtype: "f32",
      shape: [end - start],
      data: arena.values.subarray(start, end),
    });
    const a = whole(this.arena);
    await this.#adder.run({ a, b: whole(written) }, { sum: a });
    this.#free[part].push(written);
  }

  /** Forgets everything. */
  clear(): void {
    this.arena.values.fill(0);
    this.#begun.clear();
  }

  close(): Promise<void> {
    return this.#adder.close();
  }
}
