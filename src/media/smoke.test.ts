import { readdirSync, readFileSync } from "node:fs";
import { it } from "vitest";
import { openVideo } from "./video.ts";

const dir = "test/fixtures/videos/";
const truth = JSON.parse(readFileSync(`${dir}truth.json`, "utf8"));
for (const f of readdirSync(dir).filter((n) => /\.(mp4|mov|mkv|webm|avi)$/.test(n)))
  it(f, async () => {
    try {
      const v = await openVideo(dir + f);
      const T = truth[f];
      const got = [];
      let i = 0,
        bad = 0,
        worst = 0,
        tbad = 0;
      for await (const fr of v.frames(T.times)) {
        let n = 0;
        for (let b = 0; b < 10; b++)
          if (
            f !== "h264-rotated.mov" &&
            fr.image.data[3 * (8 * v.width + Math.floor(((b * 16 + 8) * v.width) / 160))]! > 128
          )
            n |= 1 << b;
        if (n !== i) {
          bad++;
          got.push([i, n]);
        }
        if (Math.abs(fr.timeS - T.times[i]) > 1e-5) tbad++;
        if (i === T.frame) {
          const sums = Array.from({ length: 48 }, () => [0, 0, 0, 0]);
          for (let y = 0; y < v.height; y++)
            for (let x = 0; x < v.width; x++) {
              const c = sums[Math.floor((y * 6) / v.height) * 8 + Math.floor((x * 8) / v.width)]!;
              for (let k = 0; k < 3; k++) c[k]! += fr.image.data[3 * (y * v.width + x) + k]!;
              c[3]!++;
            }
          sums.forEach((c, j) => {
            for (let k = 0; k < 3; k++) worst = Math.max(worst, Math.abs(c[k]! / c[3]! - T.means[j][k]));
          });
        }
        i++;
      }
      console.log(
        f,
        v.width,
        v.height,
        v.durationS,
        v.codec,
        "frames",
        i,
        "bad",
        bad,
        JSON.stringify(got.slice(0, 4)),
        "tbad",
        tbad,
        "worst",
        worst.toFixed(2),
      );
      await v.close();
    } catch (e) {
      console.log(f, (e as { code: string }).code, (e as Error).message, (e as Error).stack?.slice(0, 600));
    }
  });
