import { throwIfAborted } from "../core/errors.ts";

/**
 * Work on pictures, written once and done in either of two ways: at once, or with pauses in which the event loop
 * serves others. It yields after each step of a few milliseconds, and returns its result.
 */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Does the work without a pause. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** How long others wait at a time: half a frame of a 60 Hz screen. A pause costs 0.03 ms. */
const PAUSE_EVERY_MS = 8;

/** Does the work with pauses. Work that is done sooner is not interrupted. @throws OryxError `aborted`. */
export async function inSteps<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let resumedAtMs = performance.now();
  for (;;) {
    throwIfAborted(signal);
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() - resumedAtMs < PAUSE_EVERY_MS) continue;
    await eventLoopTurn();
    resumedAtMs = performance.now();
  }
}

/** Operations of one step, be they pixels or products: about two milliseconds' worth. */
export const STEP_OPERATIONS = 2 ** 19;

/** Rows 0 to `rows` in bands of one step each, whose borders are even. `rowOperations`: the work of one row. */
export function* inBands(
  rows: number,
  rowOperations: number,
  work: (from: number, to: number) => void,
): Steps<void> {
  const band = 2 * Math.ceil(STEP_OPERATIONS / (2 * rowOperations));
  for (let from = 0; from < rows; from += band) {
    work(from, Math.min(rows, from + band));
    yield;
  }
}

/** Lets everything run that waits by now. A timer would do so too, but sleeps for 1 ms in Node and 4 in browsers. */
function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close(); // an open port would keep the process from ending
      resolve();
    };
    port2.postMessage(undefined);
  });
}
