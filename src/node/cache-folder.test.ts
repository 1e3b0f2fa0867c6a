import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  type StatsFs,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type CacheKey, cacheKey } from "../engine/cache.ts";
import { CacheFolder } from "./cache-folder.ts";

/** What a test has happen that no machine does on demand. */
const system = vi.hoisted(() => ({
  /** Bytes of the disk that are not other people's; undefined: the real disk. */
  diskBytes: undefined as (() => number) | undefined,
  /** With which no file can be opened. */
  openError: undefined as string | undefined,
}));
vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs/promises")>();
  return {
    ...real,
    statfs: async (path: string) =>
      system.diskBytes
        ? ({ blocks: DISK_BYTES, bsize: 1, bavail: system.diskBytes() } as StatsFs)
        : real.statfs(path),
    open: async (...args: Parameters<typeof real.open>) => {
      if (system.openError === undefined) return real.open(...args);
      throw Object.assign(new Error(system.openError), { code: system.openError });
    },
  };
});

/** A disk of which a twentieth, 50 bytes, is spared. */
const DISK_BYTES = 1000;
/** Has others take so much of the small disk; the rest is free but for what the cache has written. */
const othersTake = (bytes: number) => {
  const written = () =>
    readdirSync(entries()).reduce((sum, name) => sum + statSync(join(entries(), name)).size, 0);
  system.diskBytes = () => DISK_BYTES - bytes - written();
};

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "oryx-cache-"));
  system.diskBytes = undefined;
  system.openError = undefined;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const entries = () => join(dir, "entries");
const fileOf = ({ kind, digest }: CacheKey) => join(entries(), `${kind}-${digest}`);
const key = (word: string | number) => cacheKey("features", word);
const content = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 31) >> 3);
const isPosix = process.platform !== "win32";

describe("a cache in a folder", () => {
  it("gives back what was written, to another process too", async () => {
    await new CacheFolder(dir, 1e6).write(await key(1), [content(100), content(7)]);
    const parts = [new Uint8Array(60), new Uint8Array(47)];
    expect(await new CacheFolder(dir, 1e6).read(await key(1), parts)).toBe(true);
    expect(Buffer.concat(parts)).toEqual(Buffer.concat([content(100), content(7)]));
    expect(await new CacheFolder(dir, 1e6).read(await key(2), parts)).toBe(false);
  });

  it("keeps an entry without content", async () => {
    const cache = new CacheFolder(dir, 1e6);
    await cache.write(await key(1), []);
    expect(await cache.read(await key(1), [])).toBe(true);
  });

  it.runIf(isPosix)("can be read by its owner alone", async () => {
    mkdirSync(entries(), { mode: 0o777 });
    chmodSync(entries(), 0o777);
    const cache = new CacheFolder(dir, 1e6);
    await cache.write(await key(1), [content(10)]);
    expect(statSync(entries()).mode & 0o777).toBe(0o700);
    expect(statSync(fileOf(await key(1))).mode & 0o777).toBe(0o600);
  });

  it("removes a file that was cut off, and takes none of it", async () => {
    const cache = new CacheFolder(dir, 1e6);
    const file = fileOf(await key(1));
    await fc.assert(
      fc.asyncProperty(fc.nat(99 + 80), async (length) => {
        await cache.write(await key(1), [content(100)]);
        truncateSync(file, length);
        expect(await cache.read(await key(1), [new Uint8Array(100)])).toBe(false);
        expect(existsSync(file)).toBe(false);
      }),
    );
  });

  it("removes a file of which any bit was flipped", async () => {
    const cache = new CacheFolder(dir, 1e6);
    const file = fileOf(await key(1));
    await cache.write(await key(1), [content(100)]);
    const sound = readFileSync(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(sound.length - 1), fc.nat(7), async (at, bit) => {
        const bad = Buffer.from(sound);
        bad[at] = (bad[at] as number) ^ (1 << bit);
        writeFileSync(file, bad);
        expect(await cache.read(await key(1), [new Uint8Array(100)])).toBe(false);
        expect(existsSync(file)).toBe(false);
      }),
    );
  });

  it("removes a file that grew, that is another's, or that is none at all", async () => {
    const cache = new CacheFolder(dir, 1e6);
    const [mine, other] = [await key("mine"), await key("another model's")];
    for (const spoil of [
      () => writeFileSync(fileOf(mine), "", { flag: "w" }),
      () => writeFileSync(fileOf(mine), "more", { flag: "a" }),
      () => copyFileSync(fileOf(other), fileOf(mine)),
      () => writeFileSync(fileOf(mine), Buffer.alloc(180)),
    ]) {
      await cache.write(mine, [content(100)]);
      await cache.write(other, [content(100).fill(1)]);
      spoil();
      expect(await cache.read(mine, [new Uint8Array(100)])).toBe(false);
      expect(existsSync(fileOf(mine))).toBe(false);
    }
  });

  it("lets go of what was used longest ago when there is no room", async () => {
    const cache = new CacheFolder(dir, 600);
    for (const [i, word] of ["a", "b", "c"].entries()) {
      await cache.write(await key(word), [content(100)]);
      const at = new Date(2020, 1, 1 + i);
      utimesSync(fileOf(await key(word)), at, at);
    }
    expect(await cache.read(await key("a"), [new Uint8Array(100)])).toBe(true);
    await cache.write(await key("d"), [content(100)]);
    const left = (await cache.list()).map(({ digest }) => digest);
    const digests = await Promise.all(["a", "d", "c"].map(async (word) => (await key(word)).digest));
    expect(left.toSorted()).toEqual(digests.toSorted());
  });

  it("lets go of what was used longest ago when the disk has no room", async () => {
    const cache = new CacheFolder(dir, 1e6);
    othersTake(300);
    for (const [i, word] of ["a", "b", "c"].entries()) {
      await cache.write(await key(word), [content(100)]);
      const at = new Date(2020, 1, 1 + i);
      utimesSync(fileOf(await key(word)), at, at);
    }
    expect(await cache.list()).toHaveLength(3);
    await cache.write(await key("d"), [content(100)]);
    const left = (await cache.list()).map(({ digest }) => digest);
    const digests = await Promise.all(["b", "c", "d"].map(async (word) => (await key(word)).digest));
    expect(left.toSorted()).toEqual(digests.toSorted());
  });

  it("tells once of a disk that is too full even without it, keeps what there is, and goes on when there is room", async () => {
    const problems: string[] = [];
    const cache = new CacheFolder(dir, 1e6, ({ message }) => problems.push(message));
    othersTake(300);
    await cache.write(await key("a"), [content(100)]);
    othersTake(820); // beside the one of 180
    await cache.write(await key("b"), [content(100)]);
    await cache.write(await key("b"), [content(100)]);
    expect(problems).toEqual([expect.stringContaining("the disk is full: 230 bytes more")]);
    expect(await cache.read(await key("a"), [new Uint8Array(100)])).toBe(true);
    expect(await cache.read(await key("b"), [new Uint8Array(100)])).toBe(false);
    othersTake(300);
    await cache.write(await key("b"), [content(100)]);
    expect(await cache.read(await key("b"), [new Uint8Array(100)])).toBe(true);
  });

  it("leaves an entry that cannot be opened just now where it is", async () => {
    const cache = new CacheFolder(dir, 1e6);
    await cache.write(await key("a"), [content(100)]);
    system.openError = "EMFILE";
    expect(await cache.read(await key("a"), [new Uint8Array(100)])).toBe(false);
    system.openError = undefined;
    expect(await cache.read(await key("a"), [new Uint8Array(100)])).toBe(true);
  });

  it("takes no entry that would drive out most others", async () => {
    const cache = new CacheFolder(dir, 600);
    expect(cache.fits(301)).toBe(false);
    await cache.write(await key(1), [content(301)]);
    expect(await cache.list()).toEqual([]);
  });

  it("removes what killed processes have left, and not what others are writing", async () => {
    const cache = new CacheFolder(dir, 1e6);
    await cache.write(await key(1), [content(10)]);
    const name = (digit: number) =>
      join(entries(), `writing-${`${digit}`.repeat(8)}-0000-4000-8000-000000000000`);
    writeFileSync(name(1), "old");
    writeFileSync(name(2), "new");
    utimesSync(name(1), new Date(2020, 1), new Date(2020, 1));
    await new CacheFolder(dir, 1e6).write(await key(2), [content(10)]);
    expect([existsSync(name(1)), existsSync(name(2))]).toEqual([false, true]);
  });

  it("leaves nothing behind when a write is aborted", async () => {
    const stop = AbortSignal.abort();
    const cache = new CacheFolder(dir, 1e6);
    await expect(cache.write(await key(1), [content(10)], stop)).rejects.toMatchObject({ code: "aborted" });
    expect(readdirSync(entries())).toEqual([]);
  });

  it("is cleared of its own files alone", async () => {
    const cache = new CacheFolder(dir, 1e6);
    await cache.write(await key(1), [content(10)]);
    await cache.write(await key(2), [content(20)]);
    writeFileSync(join(entries(), "notes.txt"), "mine");
    expect(await cache.clear()).toEqual({ entries: 2, bytes: 10 + 20 + 2 * 80 });
    expect(readdirSync(entries())).toEqual(["notes.txt"]);
    expect(await new CacheFolder(join(dir, "nowhere"), 1).clear()).toEqual({ entries: 0, bytes: 0 });
  });

  it("stands several writers of one entry", async () => {
    const caches = Array.from({ length: 4 }, () => new CacheFolder(dir, 1e6));
    const one = await key(1);
    await Promise.all(caches.map((cache) => cache.write(one, [content(1000)])));
    const back = new Uint8Array(1000);
    expect(await caches[0]?.read(one, [back])).toBe(true);
    expect(back).toEqual(content(1000));
    expect(readdirSync(entries())).toHaveLength(1);
  });

  it.runIf(isPosix)("tells once when it cannot be used, and fails nobody", async () => {
    const problems: string[] = [];
    writeFileSync(join(dir, "elsewhere"), "");
    symlinkSync(join(dir, "elsewhere"), entries());
    const cache = new CacheFolder(dir, 1e6, ({ code, message }) => problems.push(`${code}: ${message}`));
    await cache.write(await key(1), [content(10)]);
    await cache.write(await key(1), [content(10)]);
    expect(await cache.read(await key(1), [new Uint8Array(10)])).toBe(false);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain("disk: the cache in");
  });
});
