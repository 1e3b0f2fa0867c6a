import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runOryx } from "./support/run-oryx.ts";

const IMAGES = "test/fixtures/images";
const VIDEOS = "test/fixtures/videos";

// Skipped only in a working tree that has not been built; npm ci and npm run build make dist, and CI has it.
describe.skipIf(!existsSync("dist/cli/main.js"))("real files through the command", () => {
  it.each([
    [
      "a photo that was held sideways",
      `${IMAGES}/photo.jpg`,
      { modality: "image", k: 1, source: { width: 960, height: 720 } },
    ],
    ["H.264 in mp4", `${VIDEOS}/sample.mp4`, { modality: "video", k: 2, frameTimesS: [0, 1, 2, 3, 4, 5] }],
    ["VP9 in webm", `${VIDEOS}/vp9.webm`, { modality: "video", k: 2 }],
    ["VP8 in webm", `${VIDEOS}/vp8.webm`, { modality: "video", k: 2 }],
    ["H.265 in mp4", `${VIDEOS}/h265.mp4`, { modality: "video", k: 2 }],
    ["AV1 in webm", `${VIDEOS}/av1.webm`, { modality: "video", k: 2 }],
    ["a rotated mov", `${VIDEOS}/h264-rotated.mov`, { modality: "video", k: 2 }],
    ["variable frame rate", `${VIDEOS}/h264-vfr.mp4`, { modality: "video", k: 2 }],
  ])("%s is answered, with its plan", async (_, path, plan) => {
    const { code, out, err } = await runOryx(["ask", path, "What is this?", "--max-tokens", "3", "--json"]);
    expect([code, err]).toEqual([0, ""]);
    const answer = JSON.parse(out);
    expect(answer.plan.items).toMatchObject([plan]);
    expect(answer.plan.promptTokens).toBeGreaterThan(answer.plan.visualTokens);
    expect(answer.tokens).toBeGreaterThan(0);
  });

  it("a photo and a video in one question, and frame files as one video", async () => {
    const both = await runOryx([
      "ask",
      `${IMAGES}/photo.jpg`,
      `${VIDEOS}/vp9.webm`,
      "Which?",
      "--max-tokens",
      "2",
      "--json",
    ]);
    expect(JSON.parse(both.out).plan.items.map((i: { modality: string }) => i.modality)).toEqual([
      "image",
      "video",
    ]);
    const golden = "test/fixtures/oryx-qwen-tiny/media";
    const frames = [0, 1, 2].map((i) => `${golden}/f${i}.png`);
    const video = await runOryx(["ask", "--frames", ...frames, "What moves?", "--max-tokens", "2", "--json"]);
    expect(JSON.parse(video.out).frameTimesS).toEqual([[0, 1, 2]]);
  });
});

describe.skipIf(!existsSync("dist/cli/main.js"))("bad files through the command", () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "oryx-bad-"));
    const whole = await readFile(`${VIDEOS}/h264-bframes.mp4`);
    const files: Record<string, Uint8Array | string> = {
      "empty.mp4": "",
      "empty.jpg": "",
      "text.jpg": "I am a text.",
      "text.mp4": "I am a text.",
      "cut.mp4": whole.subarray(0, 9000),
      "huge.png": png(30_000, 30_000),
      "tall.png": png(1, 60_000),
      "cut.png": png(64, 64),
    };
    await mkdir(join(dir, "folder.mp4"));
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(dir, name), bytes);
  });
  afterAll(() => rm(dir, { recursive: true }));

  it.each([
    ["missing.mp4", "media_missing"],
    ["folder.mp4", "media_unreadable"],
    ["empty.mp4", "media_empty"],
    ["empty.jpg", "media_empty"],
    ["text.jpg", "media_unsupported"],
    ["text.mp4", "media_unsupported"],
    ["cut.mp4", "media_malformed"],
    ["huge.png", "media_too_large"],
    ["tall.png", "media_too_large"],
    ["cut.png", "media_malformed"],
  ])("%s ends with %s: one line, exit code 1, nothing on stdout", async (name, code) => {
    const { code: exit, out, err } = await runOryx(["ask", join(dir, name), "What is this?"]);
    expect(err).toMatch(new RegExp(`^error\\[${code}\\]: [^\\n]+\\n$`));
    expect([exit, out]).toEqual([1, ""]);
  });

  it("a video without pictures, and a prompt longer than the context", async () => {
    const silent = await runOryx(["ask", `${VIDEOS}/audio-only.mp4`, "What is this?"]);
    expect(silent.err).toMatch(/^error\[media_no_video\]: /);
    const long = await runOryx(["ask", "word ".repeat(20_000)]);
    expect(long.err).toMatch(
      /^error\[context_exceeded\]: the request takes \d+ tokens, but the context holds 32768\. /m,
    );
    expect(long.code).toBe(1);
  });
});

/** A PNG whose header claims a size, on a few hundred bytes of pixels. */
function png(width: number, height: number): Uint8Array {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, crc]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8);
  const pixels = deflateSync(Buffer.alloc(300));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", pixels),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
