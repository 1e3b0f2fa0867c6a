import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesOf, cacheKey, MemoryCache, TwoCaches } from "./cache.ts";

const key = (word: string | number) => cacheKey("features", word);
const filled = (length: number, value: number) => new Uint8Array(length).fill(value);

describe("a key", () => {
  it("is of all words, their order and their bounds", async () => {
    const digests = await Promise.all(
      [
        cacheKey("kv", "a", "b"),
        cacheKey("features", "a", "b"),
        cacheKey("kv", "b", "a"),
        cacheKey("kv", "ab"),
        cacheKey("kv", "a", "b", ""),
        cacheKey("kv", 'a","b'),
      ].map(async (k) => (await k).digest),
    );
    expect(new Set(digests).size).toBe(digests.length);
    expect((await cacheKey("kv", "a", "b")).digest).toBe(digests[0]);
  });
});

describe("a cache in memory", () => {
  it("gives back what was written, in whatever parts", async () => {
    const cache = new MemoryCache(1000);
    const times = Float64Array.of(0, 1.5, 1 / 3);
    await cache.write(await key(1), [bytesOf(times), filled(5, 7)]);
    const back = new Float64Array(3);
    const rest = [new Uint8Array(2), new Uint8Array(3)];
    expect(await cache.read(await key(1), [bytesOf(back), ...rest])).toBe(true);
    expect(back).toEqual(times);
    expect(rest).toEqual([filled(2, 7), filled(3, 7)]);
  });

  it("keeps its own copy, and gives nothing of another length", async () => {
    const cache = new MemoryCache(1000);
    const mine = filled(8, 1);
    await cache.write(await key(1), [mine]);
    mine.fill(2);
    const back = new Uint8Array(8);
    await cache.read(await key(1), [back]);
    expect(back).toEqual(filled(8, 1));
    expect(await cache.read(await key(1), [new Uint8Array(7)])).toBe(false);
    expect(await cache.read(await key(2), [new Uint8Array(8)])).toBe(false);
  });

  it("lets go of what was used longest ago, and never holds more than it may", async () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(9), fc.integer({ min: 1, max: 60 })), {
      maxLength: 40,
    });
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const cache = new MemoryCache(100);
        /** Lengths by name, used last at the end. */
        let model: [number, number][] = [];
        const without = (name: number) => model.filter(([n]) => n !== name);
        for (const [isWrite, name, length] of all) {
          const kept = model.find(([n]) => n === name)?.[1];
          if (isWrite) {
            await cache.write(await key(name), [filled(length, name)]);
            model = without(name);
            if (length > 50) continue;
            while (model.reduce((sum, [, n]) => sum + n, length) > 100) model.shift();
            model.push([name, length]);
          } else {
            const back = new Uint8Array(kept ?? length);
            expect(await cache.read(await key(name), [back])).toBe(kept !== undefined);
            if (kept === undefined) continue;
            expect(back).toEqual(filled(kept, name));
            model = [...without(name), [name, kept]];
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe("two caches as one", () => {
  it("give the near one what only the far one has", async () => {
    const [near, far] = [new MemoryCache(100), new MemoryCache(100)];
    await far.write(await key(1), [filled(4, 9)]);
    const both = new TwoCaches(near, far);
    const back = new Uint8Array(4);
    expect(await near.read(await key(1), [back])).toBe(false);
    expect(await both.read(await key(1), [back])).toBe(true);
    expect(await near.read(await key(1), [back])).toBe(true);
    expect(back).toEqual(filled(4, 9));
  });

  it("keep what one of them has room for", async () => {
    const [near, far] = [new MemoryCache(10), new MemoryCache(100)];
    const both = new TwoCaches(near, far);
    expect(both.fits(20)).toBe(true);
    await both.write(await key(1), [filled(20, 1)]);
    expect(await both.read(await key(1), [new Uint8Array(20)])).toBe(true);
    expect(await near.read(await key(1), [new Uint8Array(20)])).toBe(false);
  });
});
