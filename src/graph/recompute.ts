import { applyAll } from "./infer.ts";
import { greater, scalar, slice, sum, where } from "./ops.ts";
import { outputsOf, TensorMap } from "./order.ts";
import { type Apply, type Operand, Tensor } from "./tensor.ts";

/**
 * Forward values as the backward pass shall read them: those behind a kept tensor are computed again, so that no more
 * of them is in memory at a time than is made between two kept tensors. What follows the last one is turned back at
 * once, and therefore not computed again.
 *
 * A runtime would merge equal computations, and do the second as early as the first. So the second starts from the
 * kept tensor by way of a choice that depends on the gradient which has come so far: it is another computation,
 * and has to wait.
 */
export class Recomputation {
  /** For each tensor how many kept tensors lie before it, in the order of computation, itself included. */
  readonly #stretch = new TensorMap<number>();
  /** The operations of each stretch, in order; none of the last one. */
  readonly #applies: Apply[][] = [];
  readonly #starts: Tensor[] = [];
  readonly #again = new TensorMap<Tensor>();

  constructor(applies: readonly Apply[], kept: readonly Tensor[]) {
    if (kept.length === 0) return;
    const isKept = new TensorMap<true>();
    for (const t of kept) isKept.set(t, true);
    const place = (t: Tensor, stretch: number) => {
      if (isKept.has(t)) this.#starts.push(t);
      this.#stretch.set(t, isKept.has(t) ? this.#starts.length : stretch);
    };
    for (const t of kept) if (t.source.kind !== "apply") place(t, 0);
    for (const a of applies) {
      const stretch = this.#stretchOf(a);
      for (const y of outputsOf(a)) place(y, stretch);
      this.#applies[stretch] ??= [];
      this.#applies[stretch].push(a);
    }
    delete this.#applies[this.#starts.length];
    delete this.#applies[0];
  }

  /** What stands for a value in the gradient of an operation that it belongs to, whose outputs' gradients are there. */
  of(x: Operand, of: Apply, [upstream]: readonly Tensor[]): Operand {
    const stretch = this.#stretchOf(of);
    if (this.#applies[stretch] === undefined) return x;
    this.#compute(stretch, upstream as Tensor);
    return this.#within(x, stretch);
  }

  #stretchOf(a: Apply): number {
    return Math.max(0, ...a.operands.map((x) => (x instanceof Tensor ? (this.#stretch.get(x) ?? 0) : 0)));
  }

  /** Describes a stretch again, the first time that a gradient reaches it. */
  #compute(stretch: number, upstream: Tensor): void {
    const start = this.#starts[stretch - 1] as Tensor;
    if (this.#again.has(start)) return;
    this.#again.set(start, after(start, upstream));
    for (const a of this.#applies[stretch] as Apply[]) {
      const copies = applyAll(
        a.op,
        a.operands.map((x) => this.#within(x, stretch)),
        a.attributes,
      );
      outputsOf(a).forEach((y, i) => {
        if (this.#stretch.get(y) === stretch) this.#again.set(y, copies[i] as Tensor);
      });
    }
  }

  #within(x: Operand, stretch: number): Operand {
    if (!(x instanceof Tensor) || this.#stretch.get(x) !== stretch) return x;
    return this.#again.get(x) ?? x;
  }
}

/** x, but not before g is known. No number is greater than itself, which no runtime knows. */
function after(x: Tensor, g: Tensor): Tensor {
  const corner = g.shape.reduce((part: Tensor, _, axis) => slice(part, 0, 1, axis), g);
  const one = sum(
    corner,
    g.shape.map((_, axis) => axis),
  );
  return where(greater(one, one), scalar(0, x.dtype), x);
}
