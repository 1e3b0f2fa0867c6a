import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sampleTimes } from "./sampling.ts";

const options = fc.record({
  durationS: fc.double({ min: 0, max: 1e5, noNaN: true }),
  fps: fc.double({ min: 0.01, max: 60, noNaN: true }),
  maxFrames: fc.integer({ min: 1, max: 300 }),
});

const usual = { fps: 1, maxFrames: 64 };

describe("sampleTimes", () => {
  it("takes one frame per second of a short film", () => {
    expect(sampleTimes({ ...usual, durationS: 5.5 })).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("leaves out a candidate that falls on the very end", () => {
    expect(sampleTimes({ ...usual, durationS: 3 })).toEqual([0, 1, 2]);
    expect(sampleTimes({ ...usual, durationS: 0.3, fps: 10 })).toEqual([0, 0.1, 0.2]);
  });

  it("takes the first frame of a film however short", () => {
    expect(sampleTimes({ ...usual, durationS: 0 })).toEqual([0]);
    expect(sampleTimes({ ...usual, durationS: 0.01 })).toEqual([0]);
  });

  it("agrees with np.linspace(0, n - 1, 64, dtype=int) on a ten-minute film", () => {
    const times = sampleTimes({ ...usual, durationS: 600 });
    expect(times).toHaveLength(64);
    expect(times.slice(0, 8)).toEqual([0, 9, 19, 28, 38, 47, 57, 66]);
    expect(times.slice(-3)).toEqual([579, 589, 599]);
  });

  it("gives ascending times inside the film, from 0 to the last candidate, never too many", () => {
    fc.assert(
      fc.property(options, ({ durationS, fps, maxFrames }) => {
        const times = sampleTimes({ durationS, fps, maxFrames });
        expect(times.length).toBeGreaterThan(0);
        expect(times.length).toBeLessThanOrEqual(maxFrames);
        expect(times[0]).toBe(0);
        for (let i = 1; i < times.length; i++) {
          expect(times[i]).toBeGreaterThan(times[i - 1] as number);
          expect(times[i]).toBeLessThan(durationS);
        }
        const last = times.at(-1) as number;
        if (maxFrames > 1) expect(last + 1 / fps).toBeGreaterThanOrEqual(durationS * (1 - 1e-12));
      }),
    );
  });

  it("costs no more for a film that claims to last a million years", () => {
    const times = sampleTimes({ ...usual, durationS: 3e13, maxFrames: 4 });
    expect(times).toEqual([0, 9999999999999, 19999999999999, 29999999999999]);
  });

  it.each([
    { durationS: Number.NaN },
    { durationS: -1 },
    { durationS: Number.POSITIVE_INFINITY },
    { durationS: 1, fps: 0 },
    { durationS: 1, maxFrames: 0 },
    { durationS: 1, maxFrames: 1.5 },
  ])("refuses %o", (bad) => {
    expect(() => sampleTimes({ ...usual, ...bad })).toThrow(expect.objectContaining({ code: "bad_option" }));
  });
});
