import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { number, wholeNumber } from "./numbers.ts";
import { byteCount, duration, timeLeft } from "./words.ts";

describe("numbers for people", () => {
  it("names bytes in powers of ten", () => {
    expect([0, 999, 1000, 4.93e9, 2e15].map(byteCount)).toEqual([
      "0 bytes",
      "999 bytes",
      "1.0 kB",
      "4.9 GB",
      "2000.0 TB",
    ]);
  });

  it("rounds durations up", () => {
    expect([0.2, 59.5, 75.2, 3599.1, 7260].map(duration)).toEqual([
      "1 s",
      "1 min 0 s",
      "1 min 16 s",
      "1 h 0 min",
      "2 h 1 min",
    ]);
  });

  it("tells the time left of over a second", () => {
    expect(timeLeft(25, 100, 5000)).toBe(" · 15 s left");
    expect(timeLeft(0, 100, 5000)).toBe("");
    expect(timeLeft(99, 100, 5000)).toBe("");
  });
});

describe("numbers of options", () => {
  it("take what a decimal number prints as, and give it back", () => {
    const parse = number({ from: -1e300, to: 1e300 });
    fc.assert(
      fc.property(fc.double({ min: -1e300, max: 1e300, noNaN: true }), (x) => parse(String(x)) === x),
    );
  });

  it.each(["", " 1", "1 ", "0x1", "1_000", "1,5", "NaN", "Infinity", "1e400", "one", "--1", ".", "٣"])(
    "refuse %j",
    (text) => expect(() => number({ from: 0, to: 1e308 })(text)).toThrow("Give a number from 0"),
  );

  it("keep to their bounds", () => {
    expect([wholeNumber(1, 4)("1"), wholeNumber(1, 4)("4")]).toEqual([1, 4]);
    for (const text of ["0", "5", "1.5"]) expect(() => wholeNumber(1, 4)(text)).toThrow("from 1 to 4");
    expect(() => number({ from: 0, above: true, to: 1 })("0")).toThrow("above 0 and at most 1");
  });
});
