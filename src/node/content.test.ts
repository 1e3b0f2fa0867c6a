import { createHash } from "node:crypto";
import {
  linkSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryCache } from "../engine/cache.ts";
import { ContentHashes } from "./content.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "oryx-content-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

/** A cache that counts what is remembered and found again. */
class CountingCache extends MemoryCache {
  written = 0;
  found = 0;
  override async read(...args: Parameters<MemoryCache["read"]>): Promise<boolean> {
    const isFound = await super.read(...args);
    if (isFound) this.found++;
    return isFound;
  }
  override async write(...args: Parameters<MemoryCache["write"]>): Promise<void> {
    this.written++;
    return super.write(...args);
  }
}

describe("the hash of a file", () => {
  it("is SHA-256 of all its bytes, or of stretches of them", async () => {
    const file = join(dir, "film");
    const bytes = Uint8Array.from({ length: 9_000_000 }, (_, i) => i % 251);
    writeFileSync(file, bytes);
    const hashes = new ContentHashes(new MemoryCache(1e4));
    expect(await hashes.file(file, {})).toBe(sha256(bytes));
    const ranges = [
      { offset: 5, byteLength: 10 },
      { offset: 0, byteLength: 2 },
    ];
    const stretches = Buffer.concat([bytes.subarray(5, 15), bytes.subarray(0, 2)]);
    expect(await hashes.file(file, { ranges })).toBe(sha256(stretches));
  });

  it("is remembered of a file that has come to rest, until anything of it changes", async () => {
    const file = join(dir, "film");
    writeFileSync(file, "one film");
    const cache = new CountingCache(1e4);
    const hashes = new ContentHashes(cache);
    // Within the file system's clock it could be written again and look the same: it is read again instead.
    expect(await hashes.file(file, {})).toBe(sha256("one film"));
    expect(cache.written).toBe(0);
    await sleep(2100);
    expect(await hashes.file(file, {})).toBe(sha256("one film"));
    expect(await hashes.file(file, {})).toBe(sha256("one film"));
    expect([cache.written, cache.found]).toEqual([1, 1]);

    // Another film of the same size, with the old one's time: tools that copy set it so.
    const { atime, mtime } = statSync(file);
    writeFileSync(file, "two film");
    utimesSync(file, atime, mtime);
    expect(await hashes.file(file, {})).toBe(sha256("two film"));

    writeFileSync(join(dir, "new"), "six film");
    utimesSync(join(dir, "new"), atime, mtime);
    renameSync(join(dir, "new"), file);
    expect(await hashes.file(file, {})).toBe(sha256("six film"));
  });

  it("is not told of a file that is not what it was", async () => {
    const file = join(dir, "weights");
    writeFileSync(file, "a model");
    const { identityOf } = await import("./content.ts");
    const same = await identityOf(file);
    const hashes = new ContentHashes(new MemoryCache(1e4));
    expect(await hashes.file(file, { same })).toBe(sha256("a model"));
    writeFileSync(join(dir, "trained on"), "a model");
    renameSync(join(dir, "trained on"), file);
    expect(await hashes.file(file, { same })).toBeUndefined();
  });

  it("is not told where there is no file, or none that can be read", async () => {
    const hashes = new ContentHashes(new MemoryCache(1e4));
    expect(await hashes.file(join(dir, "nothing"), {})).toBeUndefined();
    expect(await hashes.file(dir, {})).toBeUndefined();
  });

  it("ends when it is told to", async () => {
    const file = join(dir, "film");
    writeFileSync(file, "one film");
    const hashes = new ContentHashes(new MemoryCache(1e4));
    const signal = AbortSignal.abort();
    await expect(hashes.file(file, { signal })).rejects.toMatchObject({ code: "aborted" });
  });
});

describe("a medium's content", () => {
  const hashes = () => new ContentHashes(new MemoryCache(1e4));
  const photo = "test/fixtures/images/photo.jpg";

  it("is the same from a file, from a copy of another name, and from memory", async () => {
    const bytes = readFileSync(photo);
    writeFileSync(join(dir, "copy.jpg"), bytes);
    linkSync(join(dir, "copy.jpg"), join(dir, "link.jpg"));
    const digests = await Promise.all(
      [photo, join(dir, "copy.jpg"), join(dir, "link.jpg"), { bytes }].map((source) =>
        hashes().media(source).digest(),
      ),
    );
    expect(new Set(digests)).toEqual(new Set([sha256(bytes)]));
  });

  it("is noticed to change, in a file and in memory", async () => {
    const file = join(dir, "photo.jpg");
    writeFileSync(file, "before");
    const onDisk = hashes().media(file);
    await onDisk.digest();
    expect(await onDisk.isUnchanged()).toBe(true);
    writeFileSync(file, "after!");
    expect(await onDisk.isUnchanged()).toBe(false);

    const bytes = new TextEncoder().encode("before");
    const inMemory = hashes().media({ bytes });
    await inMemory.digest();
    expect(await inMemory.isUnchanged()).toBe(true);
    bytes.fill(0);
    expect(await inMemory.isUnchanged()).toBe(false);
  });

  it("of a list of pictures is all of them, their order and their times", async () => {
    const [a, b] = ["a", "b"].map((word) => ({ source: { bytes: new TextEncoder().encode(word) } })) as [
      { source: { bytes: Uint8Array } },
      { source: { bytes: Uint8Array } },
    ];
    const lists = [[a, b], [b, a], [a, { ...b, timeS: 1 }], [a, { ...b, timeS: 2 }], [a], []];
    const digests = await Promise.all(lists.map((list) => hashes().frames(list).digest()));
    expect(new Set(digests).size).toBe(lists.length);
    expect(await hashes().frames([a, b]).digest()).toBe(digests[0]);
  });
});
