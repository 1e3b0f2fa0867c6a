import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findMedia, mediaItem, mediaKey } from "./media-files.ts";
import type { MediaName } from "./question.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-media-"));
  const paths = [
    "videos/1106/4010.mp4",
    "videos/clip.webm",
    "videos/v1.2.mkv",
    "a/same.mp4",
    "b/same.mp4",
    "clevrer/video_validation/video_1.mp4",
    "perception/videos/video_1.mp4",
    "clevrer/video_validation/video_2.mp4",
    "scans/scene0000_00/color/10.jpg",
    "scans/scene0000_00/color/2.jpg",
    "scans/scene0000_00/notes.txt",
    "tvqa/film/00002.jpg",
    "tvqa/film/00001.jpg",
    "film.txt",
    "sta/walk.mp4",
    "star/walk.mp4",
    "star/run.mp4",
  ];
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), "");
  }
});
afterAll(() => rm(root, { recursive: true }));

async function find(name: string | MediaName) {
  const asked = typeof name === "string" ? { name } : name;
  const found = (await findMedia(root, [asked])).get(mediaKey(asked));
  return typeof found === "object" ? found.path.slice(root.length + 1) : found;
}

describe("findMedia", () => {
  it.each([
    ["4010", "videos/1106/4010.mp4"],
    ["1106/4010", "videos/1106/4010.mp4"],
    ["clip.mp4", "videos/clip.webm"],
    ["v1.2", "videos/v1.2.mkv"],
    ["./videos/clip.webm", "videos/clip.webm"],
    ["b/same", "b/same.mp4"],
    ["b\\same.mp4", "b/same.mp4"],
    ["elsewhere/b/same.mp4", "several"],
    ["same", "several"],
    ["scene0000_00", "scans/scene0000_00"],
    ["film", "tvqa/film"],
    ["nothing", undefined],
    ["../../etc/passwd", undefined],
    ["", undefined],
  ])("finds %j at %s", async (name, place) => {
    expect(await find(name)).toBe(place);
  });

  it("does not take another source's medium of the same name", async () => {
    expect(await find({ name: "video_1.mp4", folder: "perception" })).toBe("perception/videos/video_1.mp4");
    expect(await find({ name: "video_1.mp4", folder: "clevrer" })).toBe(
      "clevrer/video_validation/video_1.mp4",
    );
    expect(await find({ name: "video_2.mp4", folder: "perception" })).toBeUndefined();
    expect(await find("video_1.mp4")).toBe("several");
    expect(await find({ name: "walk.mp4", folder: "sta" })).toBe("sta/walk.mp4");
    expect(await find({ name: "walk.mp4", folder: "star" })).toBe("star/walk.mp4");
    expect(await find({ name: "run.mp4", folder: "sta" })).toBeUndefined();
  });

  it("says when there is no such folder, and stops when aborted", async () => {
    const there = findMedia(join(root, "no"), [{ name: "x" }]);
    await expect(there).rejects.toMatchObject({ code: "questions_invalid" });
    await expect(findMedia(root, [], AbortSignal.abort())).rejects.toMatchObject({ code: "aborted" });
  });
});

describe("mediaItem", () => {
  it("is a file's path, or a folder's pictures as people count them, at their times", async () => {
    expect(await mediaItem({ path: "a.mp4", isFolder: false }, { name: "a" })).toBe("a.mp4");
    const scan = join(root, "scans/scene0000_00");
    expect(await mediaItem({ path: scan, isFolder: true }, { name: "scene0000_00" })).toEqual({
      name: scan,
      frames: [
        { source: join(scan, "color/2.jpg"), timeS: 0 },
        { source: join(scan, "color/10.jpg"), timeS: 1 },
      ],
    });
    const film = await mediaItem({ path: join(root, "tvqa/film"), isFolder: true }, { name: "film", fps: 4 });
    expect(film).toMatchObject({ frames: [{ timeS: 0 }, { timeS: 0.25 }] });
    const empty = mediaItem({ path: join(root, "clevrer"), isFolder: true }, { name: "clevrer" });
    await expect(empty).rejects.toMatchObject({ code: "media_empty" });
  });
});
