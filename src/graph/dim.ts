/**
 * Dimensions of tensors: numbers, or integer polynomials over named symbols ("rows * cols + rows") whose values
 * are known only when the graph runs. Polynomials have one normal form, so equality is a comparison of text.
 */

/** A monomial is its symbols, sorted and joined by "*"; the constant's is "". */
type Monomial = string;

export class SymbolicDim {
  /** Coefficient of each monomial; never zero, never only a constant. */
  readonly terms: ReadonlyMap<Monomial, number>;
  /** The normal form: equal text, equal dimension. */
  readonly text: string;

  constructor(terms: ReadonlyMap<Monomial, number>) {
    this.terms = terms;
    this.text = [...terms].map(([m, c]) => (m === "" ? `${c}` : c === 1 ? m : `${c}*${m}`)).join(" + ");
  }

  toString(): string {
    return this.text;
  }
}

export type Dim = number | SymbolicDim;
export type Shape = readonly Dim[];

const termsOf = (d: Dim): ReadonlyMap<Monomial, number> =>
  typeof d === "number" ? new Map(d === 0 ? [] : [["", d]]) : d.terms;

function normalise(terms: Map<Monomial, number>): Dim {
  const kept = [...terms].filter(([, c]) => c !== 0).sort(([a], [b]) => (a < b ? -1 : 1));
  if (kept.length === 0) return 0;
  const [first] = kept;
  if (kept.length === 1 && first?.[0] === "") return first[1];
  return new SymbolicDim(new Map(kept));
}

/** A dimension whose value is known only when the graph runs. */
export function symbol(name: string): SymbolicDim {
  return new SymbolicDim(new Map([[name, 1]]));
}

export function plus(...dims: Dim[]): Dim {
  const sum = new Map<Monomial, number>();
  for (const d of dims) for (const [m, c] of termsOf(d)) sum.set(m, (sum.get(m) ?? 0) + c);
  return normalise(sum);
}

export function times(...dims: Dim[]): Dim {
  let product = new Map<Monomial, number>([["", 1]]);
  for (const d of dims) {
    const next = new Map<Monomial, number>();
    for (const [a, ca] of product) {
      for (const [b, cb] of termsOf(d)) {
        const m = [...a.split("*"), ...b.split("*")].filter(Boolean).sort().join("*");
        next.set(m, (next.get(m) ?? 0) + ca * cb);
      }
    }
    product = next;
  }
  return normalise(product);
}

export const minus = (a: Dim, b: Dim): Dim => plus(a, times(-1, b));

export function sameDim(a: Dim, b: Dim): boolean {
  return typeof a === "number" || typeof b === "number" ? a === b : a.text === b.text;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => sameDim(d, b[i] as Dim));
}

export const showShape = (shape: Shape): string => `[${shape.join(", ")}]`;

/** The value of a dimension once its symbols are known. Throws when a symbol has no value. */
export function evaluate(d: Dim, values: Readonly<Record<string, number>>): number {
  if (typeof d === "number") return d;
  let sum = 0;
  for (const [m, c] of d.terms) {
    let product = c;
    for (const name of m.split("*").filter(Boolean)) {
      const value = values[name];
      if (value === undefined) throw new RangeError(`no value for the dimension "${name}"`);
      product *= value;
    }
    sum += product;
  }
  return sum;
}
