import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { count, gigabytes, percent } from "./figures.ts";

describe("numbers for people", () => {
  it("group digits as the English locale does", () => {
    for (const n of [0, 7, 999, 1000, 7270, 123_456, 1_000_000, 0.4, 999.5, -1234]) {
      expect(count(n)).toBe(Math.round(n).toLocaleString("en-US"));
    }
    fc.assert(fc.property(fc.nat(2 ** 31), (n) => count(n) === n.toLocaleString("en-US")));
  });

  it("have one digit behind the point as shares and as gigabytes", () => {
    expect([0, 0.1234, 1].map(percent)).toEqual(["0.0%", "12.3%", "100.0%"]);
    expect([0, 4.93e9, 2e12].map(gigabytes)).toEqual(["0.0 GB", "4.9 GB", "2000.0 GB"]);
  });
});
