import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withLock } from "./lock.ts";

let dir: string;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "oryx-lock-"));
  path = join(dir, "lock");
});
afterEach(() => rm(dir, { recursive: true }));

/** Holds the lock until it is told to let go. */
async function holding(): Promise<{ letGo: () => void; ended: Promise<void> }> {
  let letGo = () => {};
  const end = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let begun = () => {};
  const begins = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const ended = withLock(path, {}, () => {
    begun();
    return end;
  });
  await begins;
  return { letGo, ended };
}

describe("a lock", () => {
  it("lets one in after the other when they wait, and leaves nothing behind", async () => {
    let [inside, most] = [0, 0];
    const work = async () => {
      most = Math.max(most, ++inside);
      await new Promise((done) => setTimeout(done, 20));
      inside--;
    };
    await Promise.all([1, 2, 3].map(() => withLock(path, {}, work)));
    expect(most).toBe(1);
    expect(await readdir(dir)).toEqual([]);
  });

  it("that another holds is told of, not waited for, if that is wished", async () => {
    const { letGo, ended } = await holding();
    const second = withLock(path, { held: "another is at work" }, async () => "never");
    await expect(second).rejects.toMatchObject({
      code: "locked",
      message: expect.stringContaining("another is at work"),
    });
    letGo();
    await ended;
    expect(await withLock(path, { held: "another is at work" }, async () => "mine")).toBe("mine");
  });

  it("is no longer waited for when the signal fires", async () => {
    const { letGo, ended } = await holding();
    const second = withLock(path, { signal: AbortSignal.timeout(50) }, async () => {});
    await expect(second).rejects.toMatchObject({ code: "aborted" });
    expect((await stat(path)).isFile()).toBe(true); // still the first one's
    letGo();
    await ended;
  });

  it.each([
    ["of a process that has ended", `${2 ** 30} ${hostname()} x`, 0],
    ["of an earlier process of the same number", `${process.pid} ${hostname()} x 1`, 0],
    ["that was made and never written", "", 60],
    ["of another machine that has not beaten for long", "1 elsewhere x", 60],
  ])("%s is taken over", async (_, holder, silentSeconds) => {
    await writeFile(path, holder);
    const beaten = Date.now() / 1000 - silentSeconds;
    await utimes(path, beaten, beaten);
    expect(await withLock(path, { held: "another is at work" }, async () => "mine")).toBe("mine");
    expect(await readdir(dir)).toEqual([]);
  });

  it("of a process that lives stays its own however long it has not beaten: it may be suspended", async () => {
    await writeFile(path, `${process.pid} ${hostname()} x`);
    await utimes(path, 1, 1);
    const second = withLock(path, { signal: AbortSignal.timeout(300) }, async () => {});
    await expect(second).rejects.toMatchObject({ code: "aborted" });
  });

  it("is never made in the place of a file that is no lock", async () => {
    await writeFile(path, "# yarn lockfile v1\n");
    await utimes(path, 1, 1);
    await expect(withLock(path, {}, async () => {})).rejects.toMatchObject({ code: "disk" });
    expect(await readFile(path, "utf8")).toBe("# yarn lockfile v1\n");
  });

  it("is let go of when the action fails", async () => {
    const failing = withLock(path, {}, async () => {
      throw new RangeError("broken");
    });
    await expect(failing).rejects.toThrow("broken");
    expect(await readdir(dir)).toEqual([]);
  });
});
