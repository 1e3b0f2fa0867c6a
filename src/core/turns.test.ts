import { describe, expect, it } from "vitest";
import { hold } from "../../test/support/hold.ts";
import { NO_LINE, Turns } from "./turns.ts";

describe("a line", () => {
  it("lets tasks through one at a time, in order, and past one that fails", async () => {
    const turns = new Turns();
    const log: string[] = [];
    const task = (name: string) => async () => {
      log.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      log.push(`${name} ends`);
      if (name === "b") throw new RangeError(name);
      return name;
    };
    const results = await Promise.allSettled(["a", "b", "c"].map((name) => turns.take(task(name))));
    expect(results.map((r) => r.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(log).toEqual(["a", "b", "c"].flatMap((name) => [`${name} begins`, `${name} ends`]));
  });

  it("is left at once by one whose signal fires, and nobody gets past those before it", async () => {
    const turns = new Turns();
    const log: string[] = [];
    const free = hold(turns);
    const first = turns.take(async () => log.push("first"));
    const stop = new AbortController();
    const left = turns.take(async () => log.push("left"), stop.signal);
    const last = turns.take(async () => log.push("last"));
    stop.abort();
    await expect(left).rejects.toMatchObject({ code: "aborted" });
    expect(log).toEqual([]);
    free();
    await Promise.all([first, last]);
    expect(log).toEqual(["first", "last"]);
  });

  it("is not joined by one whose signal has fired", async () => {
    const taken = new Turns().take(async () => "done", AbortSignal.abort());
    await expect(taken).rejects.toMatchObject({ code: "aborted" });
  });

  it("that is none keeps nobody waiting", async () => {
    const log: string[] = [];
    const first = NO_LINE.take(() => new Promise<void>(() => log.push("first")));
    await NO_LINE.take(async () => log.push("second"));
    expect(log).toEqual(["first", "second"]);
    expect(first).toBeInstanceOf(Promise);
  });
});
