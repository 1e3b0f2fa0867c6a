import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import { makeFolder, onDisk, replaceFile, replaceFolder } from "./disk.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "oryx-disk-"));
});
afterEach(() => rm(dir, { recursive: true }));

describe("the disk", () => {
  it("has its errors coded, a full one apart, and those that are coded already as they are", async () => {
    const failing = (error: Error) => onDisk("write x", () => Promise.reject(error), "try elsewhere");
    const full = Object.assign(new Error("no space"), { code: "ENOSPC" });
    await expect(failing(full)).rejects.toMatchObject({
      code: "disk",
      message: "the disk is full (ENOSPC): could not write x",
      remedy: expect.stringContaining("free some space"),
    });
    await expect(failing(new Error("gone"))).rejects.toMatchObject({ code: "disk", remedy: "try elsewhere" });
    const coded = new OryxError("aborted", "enough", "ask again");
    await expect(failing(coded)).rejects.toBe(coded);
  });

  it("makes folders within folders, and is content with those that are there", async () => {
    const deep = join(dir, "a", "b", "c");
    await makeFolder(deep);
    await makeFolder(deep);
    expect(await readdir(deep)).toEqual([]);
    await writeFile(join(dir, "file"), "");
    await expect(makeFolder(join(dir, "file"))).rejects.toMatchObject({ code: "EEXIST" });
  });

  it("makes folders that others make at the same time", async () => {
    const places = Array.from({ length: 40 }, (_, i) => join(dir, "x", "y", `z${i % 4}`, "w"));
    await Promise.all(places.map((place) => makeFolder(place)));
    expect(await readdir(join(dir, "x", "y"))).toEqual(["z0", "z1", "z2", "z3"]);
  });

  it.runIf(process.platform === "linux")("gives up below a folder that takes nothing", async () => {
    await expect(makeFolder("/proc/oryx/runs")).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("puts a file in the place of another, and keeps that when it cannot", async () => {
    const path = join(dir, "x");
    await replaceFile(path, "old");
    await replaceFile(path, "new");
    expect(await readFile(path, "utf8")).toBe("new");
    await mkdir(join(dir, "folder"));
    await expect(replaceFile(join(dir, "folder"), "no")).rejects.toThrow();
    expect((await readdir(dir)).sort()).toEqual(["folder", "x"]);
  });

  it("puts a folder in the place of another", async () => {
    for (const content of ["first", "second"]) {
      await makeFolder(join(dir, "fresh"));
      await writeFile(join(dir, "fresh", content), content);
      await replaceFolder(join(dir, "place"), join(dir, "fresh"), join(dir, "aside"));
    }
    expect(await readdir(dir)).toEqual(["place"]);
    expect(await readdir(join(dir, "place"))).toEqual(["second"]);
  });
});
