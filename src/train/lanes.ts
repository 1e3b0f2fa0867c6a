/** Memory, or whatever else pieces at work have in common. A piece that needs more than there is goes alone. */
export interface Room<T> {
  most: number;
  neededBy: (item: T) => number;
}

/**
 * Does pieces of work, up to `lanes` at a time, and hands over what each gives one after the other in their order: so
 * that sums come out the same whichever piece was ready first. When one fails, no further one begins, and the error
 * is thrown once none is at work any more.
 * @param room without it, a piece needs nothing but a lane
 */
export async function inLanes<T, R extends object | number>(
  items: readonly T[],
  lanes: number,
  work: (item: T, index: number) => Promise<R>,
  handOver: (result: R, item: T) => Promise<void> | void,
  room: Room<T> = { most: 0, neededBy: () => 0 },
): Promise<void> {
  let failed = false;
  let taken = 0;
  let waiting: (() => void)[] = [];
  const enter = async (needed: number) => {
    while (taken > 0 && taken + needed > room.most && !failed) {
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    taken += needed;
  };
  const leave = (needed: number) => {
    taken -= needed;
    const all = waiting;
    waiting = [];
    for (const look of all) look();
  };
  /** Does a piece once there is room for it. */
  const roomy = async (item: T, index: number): Promise<R | undefined> => {
    const needed = room.neededBy(item);
    await enter(needed);
    try {
      return failed ? undefined : await work(item, index);
    } finally {
      leave(needed);
    }
  };
  let next = 0;
  let last: Promise<void> = Promise.resolve();
  const lane = async () => {
    while (next < items.length && !failed) {
      const index = next++;
      const item = items[index] as T;
      const before = last;
      let done = () => {};
      last = new Promise((resolve) => {
        done = resolve;
      });
      try {
        const result = await roomy(item, index);
        if (result === undefined) return; // another piece has failed
        await before;
        if (!failed) await handOver(result, item);
      } catch (error) {
        failed = true;
        throw error;
      } finally {
        done();
      }
    }
  };
  const all = await Promise.allSettled(Array.from({ length: Math.min(lanes, items.length) }, lane));
  for (const one of all) if (one.status === "rejected") throw one.reason;
}

/** How threads are put to work. */
export interface Shares {
  /** Runs at a time. */
  lanes: number;
  /** Threads of a runtime's session: each run brings one, and all that go on at once have the others in common. */
  threads: number;
}

/**
 * Shares out threads: a lane for each, as far as the process can have so many native calls under way. One such call
 * is left to what reads and decodes data meanwhile, which would wait for a run to end otherwise.
 */
export function shareOut(threads: number, nativeCalls: number): Shares {
  const lanes = Math.max(1, Math.min(threads, nativeCalls - 1));
  return { lanes, threads: threads - lanes + 1 };
}
