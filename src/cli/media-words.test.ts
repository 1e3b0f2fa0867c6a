import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mediaAndQuestion, mediaItems } from "./media-words.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oryx-words-"));
  for (const name of ["f10.png", "f9.JPG", "f1.webp", "notes.txt"]) await writeFile(join(folder, name), "");
});
afterAll(() => rm(folder, { recursive: true }));

describe("words that name media", () => {
  it("are frames in the order of their numbers when a folder is named", async () => {
    const [item] = await mediaItems([folder], { frames: true, fps: 4 });
    const sources = ["f1.webp", "f9.JPG", "f10.png"].map((name) => join(folder, name));
    expect(item).toMatchObject({ frames: sources.map((source, i) => ({ source, timeS: i / 4 })) });
  });

  it("are frames in the order given when files are named", async () => {
    const words = ["f9.JPG", "f1.webp"].map((name) => join(folder, name));
    const [item] = await mediaItems(words, { frames: true });
    expect(item).toMatchObject({ frames: words.map((source, i) => ({ source, timeS: i })) });
  });

  it("stand before the question, which may look like anything but a file", async () => {
    const file = join(folder, "f1.webp");
    expect(await mediaAndQuestion([file, "1/2?"], {})).toEqual({ media: [file], question: "1/2?" });
    expect(await mediaAndQuestion(["?".repeat(10_000)], {})).toMatchObject({ media: [] });
  });
});
