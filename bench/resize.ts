/**
 * Times `resize` on one 720p frame at sizes that films and pictures are brought to, beside sharp's cubic (which is
 * native, but gives other pixels). Prints the median of 30 runs after 5 for warming up.
 *
 * Run with Node 22.18 or newer: `node bench/resize.ts [--json]`. Node 20 does not read TypeScript; there,
 * `npx rolldown bench/resize.ts --platform node --external sharp -o bench.tmp.mjs && node bench.tmp.mjs`.
 */
import sharp from "sharp";
import { Random } from "../src/core/random.ts";
import type { RgbImage } from "../src/media/media.ts";
import { resize } from "../src/media/resize.ts";

const WARM_UP = 5;
const RUNS = 30;
const SIZES = [
  [288, 160],
  [480, 288],
  [960, 544],
  [1920, 1088],
] as const;

interface Row {
  to: string;
  ms: number;
  /** Input megapixels a second. */
  megapixelsPerS: number;
  sharpMs: number;
  /** Our time over sharp's. */
  ratio: number;
}

async function medianMs(work: () => unknown): Promise<number> {
  const times: number[] = [];
  for (let run = -WARM_UP; run < RUNS; run++) {
    const begin = performance.now();
    await work();
    if (run >= 0) times.push(performance.now() - begin);
  }
  return times.sort((a, b) => a - b)[RUNS >> 1]!;
}

async function measure(frame: RgbImage, width: number, height: number): Promise<Row> {
  const raw = { width: frame.width, height: frame.height, channels: 3 as const };
  const ms = await medianMs(() => resize(frame, width, height));
  const sharpMs = await medianMs(() =>
    sharp(frame.data, { raw }).resize(width, height, { kernel: "cubic", fit: "fill" }).raw().toBuffer(),
  );
  const megapixelsPerS = (frame.width * frame.height) / 1000 / ms;
  return { to: `${width}x${height}`, ms, megapixelsPerS, sharpMs, ratio: ms / sharpMs };
}

const random = new Random(1);
const noise = Uint8Array.from({ length: 3 * 1280 * 720 }, () => random.bits());
const frame = { width: 1280, height: 720, data: noise };
const rows: Row[] = [];
for (const [width, height] of SIZES) rows.push(await measure(frame, width, height));
if (process.argv.includes("--json")) {
  console.log(JSON.stringify({ from: "1280x720", filter: "bicubic", rows }));
} else {
  for (const { to, ms, megapixelsPerS, sharpMs, ratio } of rows) {
    console.log(
      `1280x720 -> ${to.padEnd(9)} ${ms.toFixed(1)} ms  ${megapixelsPerS.toFixed(0)} Mpx/s  (sharp's cubic ${sharpMs.toFixed(1)} ms, ratio ${ratio.toFixed(2)})`,
    );
  }
}
