import { describe, expect, it } from "vitest";
import { bytesOf, cacheKey, MemoryCache } from "./cache.ts";
import type { Speed } from "./speed.ts";
import { SpeedCache } from "./speed-cache.ts";

const SPEED: Speed = {
  encode: { perPatch: 1e-3, perPair: 2e-7 },
  prefill: { perToken: 3e-3, perPair: 0 },
  perPixel: 5e-8,
};

describe("a model's speed", () => {
  it("is kept for other processes, by what computes it", async () => {
    const cache = new MemoryCache(1000);
    await new SpeedCache(cache, "a model").write(SPEED);
    expect(await new SpeedCache(cache, "a model").read()).toEqual(SPEED);
    expect(await new SpeedCache(cache, "another").read()).toBeUndefined();
  });

  it("is kept in the process when there is no cache", async () => {
    const speeds = new SpeedCache(undefined, "");
    expect(await speeds.read()).toBeUndefined();
    await speeds.write(SPEED);
    expect(await speeds.read()).toEqual(SPEED);
  });

  it("is measured once, however many ask at a time, and again after a failure", async () => {
    const speeds = new SpeedCache(undefined, "");
    const failing = () => Promise.reject(new RangeError("no"));
    await expect(speeds.readOrMeasure(failing)).rejects.toThrow(RangeError);
    let measured = 0;
    const measure = async () => {
      measured++;
      return SPEED;
    };
    const both = Promise.all([speeds.readOrMeasure(measure), speeds.readOrMeasure(measure)]);
    expect(await both).toEqual([SPEED, SPEED]);
    expect(measured).toBe(1);
  });

  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY])("is not taken from numbers like %d", async (wrong) => {
    const cache = new MemoryCache(1000);
    await new SpeedCache(cache, "a model").write({ ...SPEED, perPixel: wrong });
    expect(await new SpeedCache(cache, "a model").read()).toBeUndefined();
    await cache.write(await cacheKey("speed", 2, "a model"), [bytesOf(new Float64Array(4))]);
    expect(await new SpeedCache(cache, "a model").read()).toBeUndefined();
  });
});
