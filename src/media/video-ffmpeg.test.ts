import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { VideoFrame } from "./media.ts";
import { openVideo } from "./video.ts";

const FILM = "test/fixtures/videos/mpeg4.avi";

function hasFfmpeg(): boolean {
  try {
    execFileSync("ffprobe", ["-version"], { stdio: "ignore" });
    execFileSync("ffmpeg", ["-version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function collect(frames: AsyncIterable<VideoFrame>): Promise<VideoFrame[]> {
  const all: VideoFrame[] = [];
  for await (const frame of frames) all.push(frame);
  return all;
}

/** The number in the frame's top row: ten squares of 16 pixels, lowest bit first. */
function numberIn({ image }: VideoFrame): number {
  let number = 0;
  for (let bit = 0; bit < 10; bit++) {
    if (image.data[3 * (8 * image.width + 16 * bit + 8)]! > 128) number |= 1 << bit;
  }
  return number;
}

// The fallback is there for machines with an ffmpeg of their own; without one there is nothing to test.
describe.skipIf(!hasFfmpeg())("an AVI film, through the system's ffmpeg", () => {
  it.each([
    ["a path", FILM],
    ["bytes", { bytes: new Uint8Array(readFileSync(FILM)) }],
  ])("opens from %s and gives each frame at its time", async (_, source) => {
    const video = await openVideo(source);
    expect(video).toMatchObject({ width: 160, height: 120, codec: "mpeg4" });
    expect(video.durationS).toBeCloseTo(1, 5);
    const times = Array.from({ length: 25 }, (_, n) => n / 25);
    const frames = await collect(video.frames(times));
    expect(frames.map(numberIn)).toEqual(times.map((_, n) => n));
    expect((await collect(video.frames([0.21, 0.22, 5]))).map(numberIn)).toEqual([5, 5, 24]);
    await video.close();
  });

  it("resizes, aborts and closes like any other", async () => {
    const video = await openVideo(FILM);
    const size = { width: 64, height: 32 };
    const [frame] = await collect(video.frames([0.5], { size }));
    expect(frame!.image).toMatchObject(size);
    await expect(collect(video.frames([0], { signal: AbortSignal.abort() }))).rejects.toMatchObject({
      code: "aborted",
    });
    for await (const _ of video.frames([0, 0.5])) break;
    await video.close();
    await expect(collect(video.frames([0]))).rejects.toMatchObject({ code: "closed" });
  });

  it("is an error when it is damaged", async () => {
    const bytes = new Uint8Array(readFileSync(FILM)).fill(0, 300);
    const opened = openVideo({ bytes }).then((video) => collect(video.frames([0])));
    await expect(opened).rejects.toMatchObject({ name: "OryxError" });
  });
});
