import { createHash } from "node:crypto";
import {
  copyFileSync,
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
import { mediaOpener } from "./media.ts";

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
      [photo, join(dir, "copy.jpg"), join(dir, "link.jpg"), { bytes }].map(async (source) =>
        (await hashes().media(source)).digest(),
      ),
    );
    expect(new Set(digests)).toEqual(new Set([sha256(bytes)]));
  });

  it("is noticed to change, in a file and in memory", async () => {
    const file = join(dir, "photo.jpg");
    writeFileSync(file, "before");
    const onDisk = await hashes().media(file);
    await onDisk.digest();
    expect(await onDisk.isUnchanged()).toBe(true);
    writeFileSync(file, "after!");
    expect(await onDisk.isUnchanged()).toBe(false);

    const bytes = new TextEncoder().encode("before");
    const inMemory = await hashes().media({ bytes });
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
    type List = Parameters<ContentHashes["frames"]>[0];
    const digestOf = async (list: List) => (await hashes().frames(list)).digest();
    const lists = [[a, b], [b, a], [a, { ...b, timeS: 1 }], [a, { ...b, timeS: 2 }], [a], []];
    const digests = await Promise.all(lists.map(digestOf));
    expect(new Set(digests).size).toBe(lists.length);
    expect(await digestOf([a, b])).toBe(digests[0]);
  });

  it.each([photo, "test/fixtures/videos/h264-vfr.mp4"])(
    "is no other one's than what was opened, when another file takes its place before it is hashed: %s",
    async (medium) => {
      const file = join(dir, "medium");
      const digestAfterReplacing = async () => {
        const { content, ...opened } = await mediaOpener(hashes())(file);
        writeFileSync(join(dir, "another"), "another");
        renameSync(join(dir, "another"), file);
        const digest = await content?.digest();
        expect(await content?.isUnchanged()).toBe(false);
        if (opened.kind === "video") await opened.video.close();
        return digest;
      };
      copyFileSync(medium, file);
      // Of one that was written just now, the hash is taken before it is opened: the times may not show the next change.
      expect(await digestAfterReplacing()).toBe(sha256(readFileSync(medium)));
      copyFileSync(medium, file);
      await sleep(2100);
      expect(await digestAfterReplacing()).toBeUndefined();
    },
  );

  it("is what bytes in memory were when they were opened", async () => {
    const bytes = Uint8Array.from(readFileSync(photo));
    const { content } = await mediaOpener(hashes())({ bytes });
    bytes.fill(0);
    expect(await content?.digest()).toBe(sha256(readFileSync(photo)));
    expect(await content?.isUnchanged()).toBe(false);
  });

  it("of a list is remembered once for all its pictures, until one of them changes", async () => {
    const files = ["a", "b", "c"].map((name) => join(dir, name));
    for (const file of files) writeFileSync(file, file);
    await sleep(2100);
    const cache = new CountingCache(1e4);
    const list = files.map((source) => ({ source }));
    const digestOf = async () => (await new ContentHashes(cache).frames(list)).digest();
    const first = await digestOf();
    expect(await digestOf()).toBe(first);
    expect([cache.written, cache.found]).toEqual([1, 1]);
    // One of the same size with the old one's time.
    const { atime, mtime } = statSync(join(dir, "b"));
    writeFileSync(join(dir, "b"), files[1]?.toUpperCase() as string);
    utimesSync(join(dir, "b"), atime, mtime);
    const second = await digestOf();
    expect(second).not.toBe(first);
    await sleep(2100);
    expect(await digestOf()).toBe(second);
    expect([cache.written, cache.found]).toEqual([2, 1]);
    rmSync(join(dir, "c"));
    expect(await digestOf()).toBeUndefined();
  });

  it("of a list is no other one's than what was opened, when a picture is replaced before it is hashed", async () => {
    const [a, b] = [join(dir, "a"), join(dir, "b")];
    for (const file of [a, b]) copyFileSync(photo, file);
    await sleep(2100);
    const { content } = await mediaOpener(hashes())({ frames: [a, b] });
    writeFileSync(a, "another");
    expect(await content?.digest()).toBeUndefined();
    expect(await content?.isUnchanged()).toBe(false);
  });
});
