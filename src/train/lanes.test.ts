import { describe, expect, it } from "vitest";
import { inLanes, shareOut } from "./lanes.ts";

const soon = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("work in lanes", () => {
  it("is handed over in order, whichever piece is ready first, and never more at once than there are lanes", async () => {
    const order: number[] = [];
    let [atWork, most] = [0, 0];
    const work = async (ms: number) => {
      most = Math.max(most, ++atWork);
      await soon(ms);
      atWork--;
      return ms;
    };
    await inLanes([9, 1, 5, 0, 3], 2, work, async (ms) => {
      await soon(1);
      order.push(ms);
    });
    expect(order).toEqual([9, 1, 5, 0, 3]);
    expect(most).toBe(2);
    await inLanes([], 2, work, () => {});
  });

  it("waits for room, and what needs more than there is goes alone", async () => {
    const atWork = new Set<number>();
    const together: number[][] = [];
    const work = async (size: number) => {
      atWork.add(size);
      together.push([...atWork].sort((a, b) => a - b));
      await soon(3);
      atWork.delete(size);
      return size;
    };
    const order: number[] = [];
    const room = { most: 10, neededBy: (size: number) => size };
    await inLanes([30, 7, 5, 2, 1], 3, work, (size) => void order.push(size), room);
    expect(order).toEqual([30, 7, 5, 2, 1]);
    expect(together.filter((sizes) => sizes.includes(30))).toEqual([[30]]);
    for (const sizes of together.slice(1)) expect(sizes.reduce((a, b) => a + b)).toBeLessThanOrEqual(10);
    expect(together).toContainEqual([2, 7]);
  });

  it("begins no more once a piece has failed, and throws when nothing is at work any more", async () => {
    const done: number[] = [];
    const work = async (i: number) => {
      if (i === 1) throw new Error("broken");
      await soon(5);
      done.push(i);
      return i;
    };
    const handed: number[] = [];
    await expect(inLanes([0, 1, 2, 3], 2, work, (i) => void handed.push(i))).rejects.toThrow("broken");
    expect(done).toEqual([0]);
    expect(handed).toEqual([]);
  });
});

describe("threads", () => {
  it("have a lane each as far as native calls go, one of which is left for data, and then help one another", () => {
    expect([1, 2, 3].map((threads) => shareOut(threads, 4))).toEqual([
      { lanes: 1, threads: 1 },
      { lanes: 2, threads: 1 },
      { lanes: 3, threads: 1 },
    ]);
    expect(shareOut(4, 4)).toEqual({ lanes: 3, threads: 2 });
    expect(shareOut(16, 4)).toEqual({ lanes: 3, threads: 14 });
    expect(shareOut(16, 64)).toEqual({ lanes: 16, threads: 1 });
    expect(shareOut(2, 1)).toEqual({ lanes: 1, threads: 2 });
  });
});
