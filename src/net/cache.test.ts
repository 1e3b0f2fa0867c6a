import { lstat, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ModelCache } from "./cache.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const FILE = { path: "a/config.json", size: 2, etag: "9e26dfeeb6e641a33dae4961196235bdb965b21b" };

let cacheDir: string;
let cache: ModelCache;

beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "oryx-cache-"));
  cache = new ModelCache(cacheDir, { org: "org", name: "tiny", revision: "main" });
  await mkdir(dirname(cache.blobPath(FILE)), { recursive: true });
  await writeFile(cache.blobPath(FILE), "{}");
});

afterEach(() => rm(cacheDir, { recursive: true }));

describe("a cache where symbolic links are not allowed", () => {
  it("shows a blob as a file of its own", async () => {
    const refuse = () => Promise.reject(new Error("EPERM"));
    await cache.show(COMMIT, FILE, refuse);
    const path = join(cache.snapshotPath(COMMIT), FILE.path);
    expect((await lstat(path)).isFile()).toBe(true);
    expect(await readFile(path, "utf8")).toBe("{}");
    expect(await cache.has(COMMIT, FILE)).toBe(true);
  });
});

describe("a snapshot", () => {
  it("replaces a link that leads nowhere", async () => {
    await cache.show(COMMIT, { ...FILE, etag: "0".repeat(40) });
    expect(await cache.has(COMMIT, FILE)).toBe(false);
    await cache.show(COMMIT, FILE);
    expect(await cache.has(COMMIT, FILE)).toBe(true);
    expect(await cache.files(COMMIT)).toEqual(["a/config.json"]);
  });

  it("is found by its revision only when it is there", async () => {
    await cache.writeRef("main", COMMIT);
    expect(await cache.commitOf("main")).toBeUndefined();
    await cache.show(COMMIT, FILE);
    expect(await cache.commitOf("main")).toBe(COMMIT);
    expect(await cache.commitOf(COMMIT)).toBe(COMMIT);
    expect(await cache.commitOf("v2")).toBeUndefined();
  });

  it("is not found by its commit while it is being pulled, nor when that was stopped", async () => {
    await cache.begin(COMMIT);
    await cache.show(COMMIT, FILE);
    expect(await cache.commitOf(COMMIT)).toBeUndefined();
    await cache.finish(COMMIT);
    expect(await cache.commitOf(COMMIT)).toBe(COMMIT);
  });

  it("is not looked for where a damaged note leads", async () => {
    await cache.writeRef("main", "../../..");
    expect(await cache.commitOf("main")).toBeUndefined();
  });
});
