/**
 * Times 64 frames spread over ten minutes of 720p H.264 (30 frames a second, a key frame every 250), resized to
 * what the model takes, beside the ffmpeg command line doing the same in one pass. Makes its own film in the
 * temporary folder, once (two minutes, 200 MB), for which ffmpeg has to be installed.
 *
 * Run with Node 22.18 or newer: `node bench/video.ts [film] [--json]`. Node 20 does not read TypeScript; there,
 * `npx rolldown bench/video.ts --platform node --external sharp --external mediabunny --external node-av/lib
 * --external node-av/constants -o bench.tmp.mjs && node bench.tmp.mjs`.
 */
import { execFileSync } from "node:child_process";
import { existsSync, renameSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sampleTimes } from "../src/media/sampling.ts";
import { openVideo } from "../src/media/video.ts";
import { PAPER } from "../src/model/visual.ts";

/** 1280 x 720 clamped to the area 480^2, in strides of 64. */
const SIZE = { width: 640, height: 320 };

const argument = process.argv.slice(2).find((word) => !word.startsWith("--"));
const film = argument ?? makeFilm();
const ours = await decodeFrames(film);
const rssMB = Math.round(process.resourceUsage().maxRSS / 1024);
const ffmpegMs = runFfmpeg(film, ours.numbers);

const result = {
  film,
  frames: ours.frames,
  ms: Math.round(ours.ms),
  ffmpegMs: Math.round(ffmpegMs),
  ratio: Number((ours.ms / ffmpegMs).toFixed(3)),
  rssMB,
};
if (process.argv.includes("--json")) console.log(JSON.stringify(result));
else {
  console.log(`${result.frames} frames of ${film}`);
  console.log(
    `oryx ${result.ms} ms, ffmpeg ${result.ffmpegMs} ms, ratio ${result.ratio}, ${rssMB} MB resident`,
  );
}

async function decodeFrames(path: string) {
  const start = performance.now();
  const video = await openVideo(path);
  const times = sampleTimes({ durationS: video.durationS, fps: PAPER.fps, maxFrames: PAPER.videoFrames });
  const numbers: number[] = [];
  for await (const { timeS } of video.frames(times, { size: SIZE })) numbers.push(Math.round(timeS * 30));
  await video.close();
  return { frames: numbers.length, numbers, ms: performance.now() - start };
}

function runFfmpeg(path: string, numbers: readonly number[]): number {
  const pick = numbers.map((n) => `eq(n,${n})`).join("+");
  const filter = `select='${pick}',scale=${SIZE.width}:${SIZE.height}:flags=bicubic,format=rgb24`;
  const start = performance.now();
  execFileSync("ffmpeg", [
    ...["-v", "error", "-nostdin", "-i", path, "-vf", filter, "-fps_mode", "passthrough"],
    ...["-frames:v", `${numbers.length}`, "-f", "null", "-"],
  ]);
  return performance.now() - start;
}

function makeFilm(): string {
  const path = join(tmpdir(), "oryx-bench-720p.mp4");
  if (existsSync(path)) return path;
  const unfinished = `${path}.part.mp4`;
  execFileSync("ffmpeg", [
    ...["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30:duration=600"],
    ...["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "250", unfinished],
  ]);
  renameSync(unfinished, path);
  return path;
}
