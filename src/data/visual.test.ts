import { describe, expect, it } from "vitest";
import type { RgbImage } from "../media/media.ts";
import { resize } from "../media/resize.ts";
import { exampleVisual } from "./visual.ts";

/** The published views with smaller overviews and frames, which are compared sooner. */
const views = {
  image: { most: 1536 ** 2, overview: 64 ** 2, stride: 32 },
  video: { least: 96 ** 2, most: 96 ** 2, stride: 32 },
  video_long: { least: 96 ** 2, most: 96 ** 2, stride: 64 },
};

/** A picture in which every pixel differs from its neighbours. */
function pattern(width: number, height: number, seed = 0): RgbImage {
  const data = Uint8Array.from(
    { length: 3 * width * height },
    (_, i) => (i * 37 + seed * 101 + (i >> 7)) % 256,
  );
  return { width, height, data };
}

describe("pictures of an example", () => {
  it("are an image in its main view, and the overview made from that", () => {
    const source = pattern(200, 120);
    const { shape, count, pictures } = exampleVisual([source], "image", views);
    const main = resize(source, 192, 96);
    const { width, height } = shape.views.low!;
    expect([shape.k, count]).toEqual([1, 1]);
    expect(pictures).toEqual([
      { view: "low", picture: 0, image: resize(main, width, height) },
      { view: "main", picture: 0, image: main },
    ]);
  });

  it("are a sliver, first enlarged", () => {
    const source = pattern(100, 16);
    const { shape, pictures } = exampleVisual([source], "image", views);
    const enlarged = resize(source, 400, 64);
    expect(shape.views.enlarged).toEqual({ width: 400, height: 64 });
    expect(pictures[1]?.image).toEqual(resize(enlarged, 384, 64));
  });

  it("are the frames of a video in the first one's size", () => {
    const frames = [pattern(64, 64), pattern(80, 48, 1)];
    const { shape, count, pictures } = exampleVisual(frames, "video", views);
    expect([shape.k, count, shape.views.main]).toEqual([2, 2, { width: 96, height: 96 }]);
    expect(pictures.map(({ view, picture }) => [view, picture])).toEqual([
      ["main", 0],
      ["main", 1],
    ]);
    expect(pictures[1]?.image).toEqual(resize(resize(frames[1]!, 64, 64), 96, 96));
  });

  it("share no memory with their source, nor with one another", () => {
    const frames = [pattern(96, 96), pattern(96, 96)] as const;
    const { pictures } = exampleVisual(frames, "video", views);
    const buffers = new Set([...pictures.map((p) => p.image), ...frames].map(({ data }) => data.buffer));
    expect(buffers.size).toBe(4);
  });

  it("are one where a film stands still", () => {
    const [still, other] = [pattern(64, 64), pattern(64, 64, 1)];
    const { count, pictures } = exampleVisual([still, other, still], "video", views);
    expect([count, pictures.map(({ picture }) => picture)]).toEqual([3, [0, 1, 2]]);
    expect(pictures[2]?.image).toBe(pictures[0]?.image);
    expect(pictures[1]?.image).toEqual(resize(other, 96, 96));
  });
});
