import { setImmediate, setTimeout } from "node:timers/promises";
import { expect, test } from "vitest";
import { atOnce, inBands, inSteps, type Steps } from "./steps.ts";

/** Work of so many steps that take so long each, and count themselves. */
function* busy(steps: number, stepMs: number, counter = { steps: 0 }): Steps<string> {
  while (counter.steps < steps) {
    counter.steps++;
    const endMs = performance.now() + stepMs;
    while (performance.now() < endMs);
    yield;
  }
  return "done";
}

test("work gives the same result at once and in steps", async () => {
  expect(atOnce(busy(3, 0))).toBe("done");
  expect(await inSteps(busy(3, 0))).toBe("done");
});

test("timers and other callbacks run while long work is done in steps", async () => {
  const work = { steps: 0 };
  const seen: number[] = [];
  const timer = setTimeout(1).then(() => seen.push(work.steps));
  const callback = setImmediate().then(() => seen.push(work.steps));
  await inSteps(busy(20, 10, work));
  await Promise.all([timer, callback]);
  expect(seen.every((steps) => steps > 0 && steps < 20)).toBe(true);
});

test("work ends with the step in which its signal fires", async () => {
  const controller = new AbortController();
  const work = { steps: 0 };
  setTimeout(1).then(() => controller.abort());
  const aborted = expect.objectContaining({ code: "aborted" });
  await expect(inSteps(busy(1000, 10, work), controller.signal)).rejects.toEqual(aborted);
  expect(work.steps).toBeLessThan(1000);
  await expect(inSteps(busy(1, 0, work), controller.signal)).rejects.toEqual(aborted);
});

test("an error in a step is the caller's", async () => {
  const failing = function* (): Steps<never> {
    yield;
    throw new RangeError("of its own");
  };
  await expect(inSteps(failing())).rejects.toThrow("of its own");
});

test.each([0, 1, 2, 7, 1000])("bands cover %d rows once, in order, and begin at even rows", (rows) => {
  for (const rowOperations of [1, 100_000, 1e9]) {
    const bands: [number, number][] = [];
    atOnce(inBands(rows, rowOperations, (from, to) => bands.push([from, to])));
    expect(bands.flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i))).toEqual(
      Array.from({ length: rows }, (_, i) => i),
    );
    expect(bands.every(([from]) => from % 2 === 0)).toBe(true);
  }
});
