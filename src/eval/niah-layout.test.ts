import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layout, sampled, sharedFrames, slotAt } from "./niah-layout.ts";

describe("the place of a needle", () => {
  it.each([
    [100, 0, 0],
    [100, 0.29, 29], // 0.29 * 100 is a little less than 29
    [100, 0.5, 50],
    [100, 0.999, 99],
    [100, 1, 99],
    [1600, 0.7, 1120],
    [7, 0.5, 3],
    [1, 1, 0],
  ])("of %i frames at depth %d is frame %i", (frames, depth, slot) => {
    expect(slotAt(frames, depth)).toBe(slot);
    const film = layout({ frames, depth, pictures: 1, seed: 1 });
    expect(film).toHaveLength(frames);
    expect(film[slot]).toEqual({ picture: 0 });
    expect(sharedFrames(film)).toBe(slot);
  });

  it("lets the haystack's frames keep their order, whatever is put between them", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 20, max: 300 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(),
        (pictures, frames, depth, seed) => {
          const film = layout({ frames, depth, pictures, seed });
          const hay = film.flatMap((shown) => ("hay" in shown ? [shown.hay] : []));
          expect(hay).toEqual(Array.from({ length: frames - pictures }, (_, i) => i));
          const hidden = film.flatMap((shown) => ("picture" in shown ? [shown.picture] : []));
          expect(hidden.toSorted()).toEqual(Array.from({ length: pictures }, (_, i) => i));
          expect(film[slotAt(frames, depth)]).toEqual({ picture: 0 });
          const slots = film.flatMap((shown, slot) => ("picture" in shown ? [slot] : []));
          for (const [i, slot] of slots.entries()) expect(slot - (slots[i - 1] ?? -2)).toBeGreaterThan(1);
          expect(sharedFrames(film)).toBe(slots[0]);
          expect(layout({ frames, depth, pictures, seed })).toEqual(film);
        },
      ),
    );
  });

  it("is mostly missed by a few frames of a long film, and seen at both of its ends", () => {
    const seen = [0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1].filter((depth) =>
      sampled(layout({ frames: 1600, depth, pictures: 1, seed: 1 }), 32).some((shown) => "picture" in shown),
    );
    expect(seen).toEqual([0, 1]);
  });
});
