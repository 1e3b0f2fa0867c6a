/** Something that was waited for, or what came instead. */
type Outcome<T> = { item: T } | { error: unknown } | "end";

/**
 * Runs a source ahead of its reader, by `most` items at most: while the reader is busy with one item the next ones
 * are made, and when it falls behind the source waits. An error comes at once, before items that are still waiting.
 * However the reader leaves, the source has ended when this has.
 */
export async function* ahead<T>(
  source: AsyncGenerator<T, void, undefined>,
  most: number,
): AsyncGenerator<T, void, undefined> {
  const waiting: T[] = [];
  let last: { error: unknown } | "end" | undefined;
  let isLeft = false;
  let wakeReader = () => {};
  let wakeSource = () => {};
  const run = async () => {
    while (last === undefined && !isLeft) {
      const outcome = await step(source);
      if (outcome !== "end" && "item" in outcome) waiting.push(outcome.item);
      else last = outcome;
      wakeReader();
      if (waiting.length >= most && !isLeft) {
        await new Promise<void>((resolve) => {
          wakeSource = resolve;
        });
      }
    }
  };
  const running = run();
  try {
    for (;;) {
      if (last !== undefined && last !== "end") throw last.error;
      if (waiting.length > 0) {
        const item = waiting.shift() as T;
        wakeSource();
        yield item;
      } else if (last === "end") return;
      else {
        await new Promise<void>((resolve) => {
          wakeReader = resolve;
        });
      }
    }
  } finally {
    isLeft = true;
    wakeSource();
    await running;
    await source.return();
  }
}

function step<T>(source: AsyncGenerator<T, void, undefined>): Promise<Outcome<T>> {
  return source.next().then(
    ({ done, value }): Outcome<T> => (done ? "end" : { item: value }),
    (error: unknown) => ({ error }),
  );
}
