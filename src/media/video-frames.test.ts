import { join } from "node:path";
import sharp from "sharp";
import { beforeAll, describe, expect, it } from "vitest";
import type { VideoFrame } from "./media.ts";
import { resize } from "./resize.ts";
import { videoFromFrames } from "./video-frames.ts";

/** A PNG of one colour. */
async function flat(width: number, height: number, level: number): Promise<{ bytes: Uint8Array }> {
  const create = { width, height, channels: 3 as const, background: { r: level, g: 0, b: 0 } };
  return { bytes: new Uint8Array(await sharp({ create }).png().toBuffer()) };
}

async function collect(frames: AsyncIterable<VideoFrame>): Promise<VideoFrame[]> {
  const all: VideoFrame[] = [];
  for await (const frame of frames) all.push(frame);
  return all;
}

const redOf = ({ image }: VideoFrame) => image.data[0];

describe("videoFromFrames", () => {
  let pictures: { bytes: Uint8Array }[];
  beforeAll(async () => {
    pictures = await Promise.all([flat(64, 48, 10), flat(64, 48, 20), flat(96, 96, 30)]);
  });

  it("shows a picture per second by default", async () => {
    const video = await videoFromFrames(pictures.map((source) => ({ source })));
    expect(video).toMatchObject({ width: 64, height: 48, durationS: 3, codec: "frames" });
    const frames = await collect(video.frames([-1, 0, 0.99, 1, 2.5, 100]));
    expect(frames.map(redOf)).toEqual([10, 10, 10, 20, 30, 30]);
    expect(frames.map(({ timeS }) => timeS)).toEqual([0, 0, 0, 1, 2, 2]);
  });

  it("counts times from the first picture's", async () => {
    const times = [10, 10.5, 14];
    const video = await videoFromFrames(pictures.map((source, i) => ({ source, timeS: times[i]! })));
    expect(video.durationS).toBe(7.5);
    const frames = await collect(video.frames([0, 0.5, 3.9, 4]));
    expect(frames.map(redOf)).toEqual([10, 20, 20, 30]);
  });

  it("resizes every picture to the first one's size, then to the size asked for", async () => {
    const source = join("test/fixtures/videos", "h264-bframes-100.png");
    const video = await videoFromFrames([{ source: pictures[0]! }, { source }]);
    const [frame] = await collect(video.frames([1]));
    expect(frame!.image).toMatchObject({ width: 64, height: 48 });
    const [small] = await collect(video.frames([1], { size: { width: 32, height: 32 } }));
    expect(small!.image).toEqual(resize(frame!.image, 32, 32));
  });

  it("decodes only what is asked for", async () => {
    const video = await videoFromFrames([{ source: pictures[0]! }, { source: "nowhere.png" }]);
    expect(await collect(video.frames([0, 0.5]))).toHaveLength(2);
    await expect(collect(video.frames([1]))).rejects.toMatchObject({ code: "media_missing" });
  });

  it("refuses an empty list, times that do not ascend, and a video that was closed", async () => {
    await expect(videoFromFrames([])).rejects.toMatchObject({ code: "media_empty" });
    const source = pictures[0]!;
    for (const timeS of [-1, 0, Number.NaN]) {
      const frames = [
        { source, timeS: 0 },
        { source, timeS },
      ];
      await expect(videoFromFrames(frames)).rejects.toMatchObject({ code: "bad_option" });
    }
    const video = await videoFromFrames([{ source }]);
    expect(video.durationS).toBe(1);
    await video.close();
    await expect(collect(video.frames([0]))).rejects.toMatchObject({ code: "closed" });
  });
});
