import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Dim, evaluate, minus, plus, sameDim, symbol, times } from "./dim.ts";

const values = { a: 3, b: 5, c: 7 };
const leaf = fc.oneof(
  fc.integer({ min: -9, max: 9 }).map((n): [Dim, number] => [n, n]),
  fc.constantFrom("a" as const, "b" as const, "c" as const).map((s): [Dim, number] => [symbol(s), values[s]]),
);
/** A dimension built by random operations, with the number that plain arithmetic gives. */
const expression = fc.letrec<{ e: [Dim, number] }>((tie) => ({
  e: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.tuple(tie("e"), tie("e")).map(([x, y]): [Dim, number] => [plus(x[0], y[0]), x[1] + y[1]]),
    fc.tuple(tie("e"), tie("e")).map(([x, y]): [Dim, number] => [times(x[0], y[0]), x[1] * y[1]]),
    fc.tuple(tie("e"), tie("e")).map(([x, y]): [Dim, number] => [minus(x[0], y[0]), x[1] - y[1]]),
  ),
})).e;

describe("dimensions", () => {
  it("have the value that arithmetic gives", () => {
    fc.assert(
      fc.property(expression, ([dim, value]) => {
        // -0 is a dimension of no interest.
        expect(evaluate(dim, values) + 0).toBe(value + 0);
      }),
    );
  });

  it("have one normal form: what is always equal is the same", () => {
    fc.assert(
      fc.property(expression, expression, expression, ([x], [y], [z]) => {
        expect(sameDim(times(x, plus(y, z)), plus(times(z, x), times(y, x)))).toBe(true);
        expect(minus(x, x)).toBe(0);
      }),
    );
  });

  it("differ when a symbol differs", () => {
    expect(sameDim(symbol("a"), symbol("b"))).toBe(false);
    expect(sameDim(times(2, symbol("a")), plus(symbol("a"), symbol("a")))).toBe(true);
    expect(String(plus(times(2, symbol("b"), symbol("a")), 1))).toBe("1 + 2*a*b");
  });
});
