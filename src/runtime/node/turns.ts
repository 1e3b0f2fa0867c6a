/** Does a task, now or later. */
export type Turn = <T>(task: () => Promise<T>) => Promise<T>;

/** Without waiting. */
export const unqueued: Turn = (task) => task();

/** A line in which each task waits for those before it. */
export function inLine(): Turn {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const turn = last.then(task);
    last = turn.catch(() => {}); // a failure is its caller's affair, not that of those behind
    return turn;
  };
}
