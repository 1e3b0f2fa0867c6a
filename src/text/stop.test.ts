import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopMatcher } from "./stop.ts";

/** Everything that comes out for a text that arrives in these pieces. */
function stream(stops: string[], pieces: string[]) {
  const matcher = new StopMatcher(stops);
  const shown = pieces.map((piece) => matcher.push(piece)).join("") + matcher.flush();
  return { shown, matched: matcher.matched };
}

// Two letters make overlaps and near misses frequent.
const piece = fc.string({ unit: fc.constantFrom("a", "b", "é"), maxLength: 5 });
const stop = fc.string({ unit: fc.constantFrom("a", "b", "é"), minLength: 1, maxLength: 4 });

describe("a stop matcher", () => {
  it("shows the text before the stop string, wherever the pieces are cut", () => {
    fc.assert(
      fc.property(fc.array(piece), stop, (pieces, stop) => {
        const whole = pieces.join("");
        const at = whole.indexOf(stop);
        const expected =
          at < 0 ? { shown: whole, matched: undefined } : { shown: whole.slice(0, at), matched: stop };
        expect(stream([stop], pieces)).toEqual(expected);
      }),
      { numRuns: 1000 },
    );
  });

  it("ends at the stop string that is complete first, the longest of those", () => {
    fc.assert(
      fc.property(fc.array(piece), fc.array(stop, { maxLength: 4 }), (pieces, stops) => {
        const whole = pieces.join("");
        const found = stops
          .filter((stop) => whole.includes(stop))
          .map((stop) => ({ stop, start: whole.indexOf(stop), end: whole.indexOf(stop) + stop.length }))
          .sort((a, b) => a.end - b.end || a.start - b.start)[0];
        const shown = found ? whole.slice(0, found.start) : whole;
        expect(stream(stops, pieces)).toEqual({ shown, matched: found?.stop });
      }),
      { numRuns: 1000 },
    );
  });

  it("holds back no more than may begin a stop string", () => {
    const matcher = new StopMatcher(["###"]);
    expect(matcher.push("a#b##")).toBe("a#b");
    expect(matcher.push("c")).toBe("##c");
    expect(matcher.push("#")).toBe("");
    expect(matcher.flush()).toBe("#");
  });

  it("says nothing after the end", () => {
    const matcher = new StopMatcher(["."]);
    expect(matcher.push("One. Two.")).toBe("One");
    expect(matcher.push(" Three")).toBe("");
    expect(matcher.flush()).toBe("");
  });

  it("passes everything through without stop strings", () => {
    expect(stream([], ["a", "b"])).toEqual({ shown: "ab", matched: undefined });
  });

  it.each([[[""]], [["\ud800"]], [["x".repeat(5000)]], [Array.from({ length: 100 }, (_, i) => `${i}`)]])(
    "refuses %#",
    (stops) => {
      expect(() => new StopMatcher(stops)).toThrow(expect.objectContaining({ code: "bad_option" }));
    },
  );
});
