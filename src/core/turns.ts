import { OryxError, throwIfAborted } from "./errors.ts";

/** What does tasks, at once or later. */
export interface Line {
  /** Does the task when its turn comes. A signal that fires before then takes it out of the line at once. */
  take<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T>;
}

/** Where nobody waits. */
export const NO_LINE: Line = { take: (task) => task() };

/** A line that lets one task at a time through, in the order of asking: computing is fastest one thing after the other. */
export class Turns implements Line {
  #last: Promise<unknown> = Promise.resolve();

  async take<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    throwIfAborted(signal);
    const before = this.#last;
    let done = () => {};
    const own = new Promise<void>((resolve) => {
      done = resolve;
    });
    // Those behind wait for both, so that one that gives up does not let them past those before it.
    this.#last = before.then(() => own);
    try {
      await unlessAborted(before, signal);
      return await task();
    } finally {
      done();
    }
  }
}

function unlessAborted(turn: Promise<unknown>, signal: AbortSignal | undefined): Promise<unknown> {
  if (signal === undefined) return turn;
  return new Promise((resolve, reject) => {
    const onAbort = () =>
      reject(new OryxError("aborted", "the request was aborted", "ask again", { cause: signal.reason }));
    signal.addEventListener("abort", onAbort, { once: true });
    turn.then(resolve).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
