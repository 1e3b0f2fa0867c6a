import { throwIfAborted } from "../core/errors.ts";

/** Lets one task at a time through, in the order of asking: a session computes fastest when it computes one thing. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs the task when its turn comes; a signal that fires before then takes it out of the line. */
  async take<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#last;
    let done = () => {};
    this.#last = new Promise<void>((resolve) => {
      done = resolve;
    });
    try {
      await before;
      throwIfAborted(signal);
      return await task();
    } finally {
      done();
    }
  }
}
