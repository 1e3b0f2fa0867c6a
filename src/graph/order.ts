import { type Apply, type Operand, Tensor } from "./tensor.ts";

/** Every operation under the roots, operands first. Iterative: a deep model must not overflow the stack. */
export function inOrder(roots: readonly Tensor[]): Apply[] {
  const order: Apply[] = [];
  const done = new Set<Apply>();
  const stack: { apply: Apply; next: number }[] = [];
  const push = (t: Operand | undefined) => {
    if (t instanceof Tensor && t.source.kind === "apply" && !done.has(t.source.apply)) {
      done.add(t.source.apply);
      stack.push({ apply: t.source.apply, next: 0 });
    }
  };
  for (const root of roots) {
    push(root);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      if (top.next < top.apply.operands.length) push(top.apply.operands[top.next++]);
      else order.push((stack.pop() as { apply: Apply }).apply);
    }
  }
  return order;
}

/** Tensors by the longest way that leads to them, the longest first. */
export function deepestFirst(tensors: readonly Tensor[]): Tensor[] {
  const depths = new Map<Apply, number>();
  const depth = (x: Operand) =>
    x instanceof Tensor && x.source.kind === "apply" ? (depths.get(x.source.apply) as number) : 0;
  for (const a of inOrder(tensors)) {
    depths.set(a, 1 + a.operands.reduce((most, x) => Math.max(most, depth(x)), 0));
  }
  return [...tensors].sort((a, b) => depth(b) - depth(a));
}

/** All outputs of an operation. */
export const outputsOf = (a: Apply): Tensor[] =>
  a.op
    .infer(a.operands, a.attributes)
    .map((type, output) => new Tensor(type, { kind: "apply", apply: a, output }));

/** Values of tensors. Two tensors that are the same output of the same operation are the same. */
export class TensorMap<V> {
  readonly #values = new Map<Tensor | Apply, V[]>();

  set(t: Tensor, value: V): void {
    const [key, i] = place(t);
    const values = this.#values.get(key) ?? [];
    values[i] = value;
    this.#values.set(key, values);
  }

  get(t: Tensor): V | undefined {
    const [key, i] = place(t);
    return this.#values.get(key)?.[i];
  }

  has(x: Operand): boolean {
    return x instanceof Tensor && this.get(x) !== undefined;
  }
}

const place = (t: Tensor): [Tensor | Apply, number] =>
  t.source.kind === "apply" ? [t.source.apply, t.source.output] : [t, 0];
