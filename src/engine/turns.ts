import { OryxError, throwIfAborted } from "../core/errors.ts";

/** Lets one task at a time through, in the order of asking: a session computes fastest when it computes one thing. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs the task when its turn comes. A signal that fires before then takes it out of the line at once. */
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
