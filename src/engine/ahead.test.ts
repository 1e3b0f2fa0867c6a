import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ahead } from "./ahead.ts";

/** Counts up, and tells what it is doing. */
class Source {
  made = 0;
  hasEnded = false;

  async *items(count: number, failAt = Number.POSITIVE_INFINITY): AsyncGenerator<number, void, undefined> {
    try {
      for (let i = 0; i < count; i++) {
        await turn();
        if (i === failAt) throw new Error(`item ${i}`);
        this.made++;
        yield i;
      }
    } finally {
      await turn();
      this.hasEnded = true;
    }
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await turn();
};

describe("a source that runs ahead", () => {
  it("gives all items in order, whoever is slower", async () => {
    const slow = fc.array(fc.nat(5), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(slow, fc.integer({ min: 1, max: 5 }), async (pauses, most) => {
        const source = new Source();
        const got: number[] = [];
        for await (const item of ahead(source.items(pauses.length), most)) {
          got.push(item);
          await turns(pauses[item] as number);
        }
        expect(got).toEqual(pauses.map((_, i) => i));
        expect(source.hasEnded).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it("works while its reader does, and waits when it is so many items ahead", async () => {
    const source = new Source();
    const reader = ahead(source.items(100), 4);
    expect((await reader.next()).value).toBe(0);
    await turns(50);
    expect(source.made).toBe(1 + 4);
    expect((await reader.next()).value).toBe(1);
    await turns(50);
    expect(source.made).toBe(2 + 4);
    await reader.return();
  });

  it("has ended when its reader has left, even in the middle of an item", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(9), fc.nat(7), async (count, pause) => {
        const source = new Source();
        const reader = ahead(source.items(10), 3);
        for (let i = 0; i < count; i++) await reader.next();
        await turns(pause);
        await reader.return();
        // A generator that was never begun has nothing to end.
        expect(source.hasEnded || count === 0).toBe(true);
        const { made } = source;
        await turns(20);
        expect(source.made).toBe(made);
      }),
      { numRuns: 30 },
    );
  });

  it("passes an error on at once, and has ended then", async () => {
    const source = new Source();
    const reader = ahead(source.items(10, 3), 8);
    await reader.next();
    await turns(20);
    await expect(reader.next()).rejects.toThrow("item 3");
    expect(source.hasEnded).toBe(true);
  });
});
