import { OryxError } from "../core/errors.ts";
import { type Dim, type Shape, SymbolicDim } from "../graph/dim.ts";
import type { Attribute } from "../graph/tensor.ts";

/** What emission of dimensions needs of the graph that it writes into. Both return the name of a value. */
interface Writer {
  node(op: string, inputs: string[], attributes?: Record<string, Attribute>): string;
  constant(shape: readonly number[], data: BigInt64Array): string;
}

/** An input's axis, which tells the value of some dimension. */
interface Evidence {
  input: string;
  axis: number;
  dim: SymbolicDim;
}

/**
 * Writes dimensions as i64 values of the graph. A symbol is read from a scalar input of its name, or solved from
 * an input's axis whose dimension is a single product that contains it (16 * rows * k: divide by 16 and k).
 * Everything is a [1] tensor until it is used, and written once.
 */
export class DimEmitter {
  readonly #writer: Writer;
  readonly #scalars = new Set<string>();
  readonly #evidence: Evidence[] = [];
  readonly #values = new Map<string, string>();
  readonly #solving = new Set<string>();

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  bindScalar(input: string): void {
    this.#scalars.add(input);
  }

  bindShape(input: string, shape: Shape): void {
    shape.forEach((dim, axis) => {
      if (dim instanceof SymbolicDim) this.#evidence.push({ input, axis, dim });
    });
    // The fewer factors, the fewer other symbols have to be known.
    const factors = ({ dim }: Evidence) => dim.text.split("*").length;
    this.#evidence.sort((a, b) => factors(a) - factors(b));
  }

  /** A list of dimensions as i64 [length]. */
  list(dims: readonly Dim[]): string {
    if (dims.every((d) => typeof d === "number")) {
      return this.#writer.constant([dims.length], BigInt64Array.from(dims, BigInt));
    }
    return this.#once(`[${dims.join()}]`, () =>
      dims.length === 1
        ? this.#one(dims[0] as Dim)
        : this.#writer.node(
            "Concat",
            dims.map((d) => this.#one(d)),
            { axis: { int: 0 } },
          ),
    );
  }

  /** One dimension as an i64 scalar. */
  scalar(d: Dim): string {
    if (typeof d === "number") return this.#writer.constant([], BigInt64Array.of(BigInt(d)));
    return this.#once(`scalar ${d}`, () => this.#reshape(this.#one(d), []));
  }

  #one(d: Dim): string {
    if (typeof d === "number") return this.#writer.constant([1], BigInt64Array.of(BigInt(d)));
    return this.#once(d.text, () =>
      [...d.terms]
        .map(([monomial, c]) => this.#term(monomial, c))
        .reduce((a, b) => this.#writer.node("Add", [a, b])),
    );
  }

  #term(monomial: string, coefficient: number): string {
    const factors = monomial
      .split("*")
      .filter(Boolean)
      .map((name) => this.#symbol(name));
    if (coefficient !== 1 || factors.length === 0) factors.push(this.#one(coefficient));
    return factors.reduce((a, b) => this.#writer.node("Mul", [a, b]));
  }

  #symbol(name: string): string {
    return this.#once(`symbol ${name}`, () => {
      if (this.#solving.has(name)) throw unknown(name);
      this.#solving.add(name);
      const value = this.#solve(name);
      this.#solving.delete(name);
      return value;
    });
  }

  #solve(name: string): string {
    if (this.#scalars.has(name)) return this.#reshape(name, [1]);
    for (const e of this.#evidence) {
      if (this.#solves(e.dim, name)) {
        const [[monomial, coefficient]] = [...e.dim.terms] as [[string, number]];
        const others = monomial.split("*");
        others.splice(others.indexOf(name), 1);
        const value = this.#writer.node("Shape", [e.input], {
          start: { int: e.axis },
          end: { int: e.axis + 1 },
        });
        const divisor = others.join("*");
        if (divisor === "" && coefficient === 1) return value;
        return this.#writer.node("Div", [value, this.#term(divisor, coefficient)]);
      }
    }
    throw unknown(name);
  }

  /** Whether an axis of this dimension tells the symbol: one product, the symbol once, the others solvable. */
  #solves(dim: SymbolicDim, name: string): boolean {
    if (dim.terms.size !== 1) return false;
    const names = ([...dim.terms.keys()][0] as string).split("*");
    if (names.filter((n) => n === name).length !== 1) return false;
    return names.every((n) => n === name || !this.#solving.has(n));
  }

  #reshape(value: string, shape: readonly number[]): string {
    const target = this.#writer.constant([shape.length], BigInt64Array.from(shape, BigInt));
    return this.#writer.node("Reshape", [value, target]);
  }

  #once(key: string, make: () => string): string {
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.#values.set(key, made);
    return made;
  }
}

const unknown = (name: string) =>
  new OryxError("graph_shape", `no input tells the dimension "${name}"`, "give it a size input");
