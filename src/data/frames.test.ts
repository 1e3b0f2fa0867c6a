import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Random } from "../core/random.ts";
import { chooseFrames, questionWithSlots } from "./frames.ts";

describe("the frames of an example", () => {
  it("are all of a short video, and evenly spread ones of a long one", () => {
    expect(chooseFrames(3, 64, [], new Random(1)).frames).toEqual([0, 1, 2]);
    expect(chooseFrames(9, 3, [], new Random(1)).frames).toEqual([0, 4, 8]);
  });

  it("hold every target at its slot, and the others in their order", () => {
    const cases = fc
      .record({
        count: fc.integer({ min: 1, max: 60 }),
        most: fc.integer({ min: 2, max: 40 }),
        seed: fc.nat(),
      })
      .chain((c) => fc.tuple(fc.constant(c), fc.uniqueArray(fc.nat(c.count - 1), { maxLength: 2 })));
    fc.assert(
      fc.property(cases, ([{ count, most, seed }, targets]) => {
        const { frames, slots } = chooseFrames(count, most, targets, new Random(seed));
        expect(frames).toHaveLength(Math.min(count, most));
        expect(new Set(frames).size).toBe(frames.length);
        expect(slots.map((slot) => frames[slot])).toEqual(targets);
        const others = frames.filter((frame) => !targets.includes(frame));
        expect(others).toEqual(others.toSorted((a, b) => a - b));
      }),
    );
  });

  it("have their targets in any place as often as in another", () => {
    const places = Array(4).fill(0) as number[];
    for (let seed = 0; seed < 4000; seed++) {
      places[chooseFrames(4, 4, [3, 1], new Random(seed)).slots[1]!]!++;
    }
    for (const n of places) expect(Math.abs(n - 1000)).toBeLessThan(120); // four standard deviations
  });

  it("are refused when a target is not among them, or there is no room for all", () => {
    const refused = expect.objectContaining({ code: "sample_invalid" });
    expect(() => chooseFrames(5, 64, [5], new Random(1))).toThrow(refused);
    expect(() => chooseFrames(5, 1, [0, 1], new Random(1))).toThrow(refused);
  });
});

describe("a question about frames", () => {
  it("tells where they are", () => {
    expect(questionWithSlots("Describe frame <idx>.", [7])).toBe("Describe frame 7.");
    expect(questionWithSlots("<idx1> or <idx2>? <idx2>!", [30, 4])).toBe("30 or 4? 4!");
    expect(questionWithSlots("<idx> $& <idx3>", [7])).toBe("7 $& <idx3>");
  });

  it("is refused when it speaks of one that is not there", () => {
    const refused = expect.objectContaining({ code: "sample_invalid" });
    expect(() => questionWithSlots("<idx1> or <idx2>?", [7])).toThrow(refused);
  });
});
