import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import type { TensorData } from "../core/tensor.ts";
import type { Video } from "../media/media.ts";
import { openVideo } from "../media/video.ts";
import type { Session } from "../runtime/session.ts";
import { type EncodeOptions, encodeMedia } from "./encode.ts";
import { VisionEncoder } from "./encoder.ts";
import { type PlannedMedia, planMedia } from "./media.ts";
import type { VisualOptions } from "./request.ts";

const VIDEOS = "test/fixtures/videos";
/** Of each film, the times at which its frames come on show, in ffprobe's words. */
const TRUTH = JSON.parse(readFileSync(`${VIDEOS}/truth.json`, "utf8")) as Record<string, { times: number[] }>;

/** A vision graph that looks at its pixels, and makes of a picture nothing but rows of its last one. */
class WatchingSession {
  readonly inputNames = ["pixels", "k"];
  readonly outputNames = ["rows", "marks"];
  /** The films' frame numbers, read from the pictures in the order of encoding. */
  readonly numbers: number[] = [];
  running = 0;

  async run(inputs: Readonly<Record<string, unknown>>, outputs: Readonly<Record<string, unknown>>) {
    this.running++;
    await new Promise((resolve) => setImmediate(resolve));
    this.running--;
    if ("marks" in outputs) {
      return { marks: { dtype: "f32", shape: [3, 1], data: new Float32Array(3) } satisfies TensorData };
    }
    const { shape, data } = inputs.pixels as TensorData;
    const rows = (outputs.rows as TensorData).data as Float32Array;
    const [count, height, width] = shape as [number, number, number];
    for (let n = 0; n < count; n++) {
      const start = 3 * n * height * width;
      const pixels = (data as Uint8Array).subarray(start, start + 3 * height * width);
      this.numbers.push(frameNumber(pixels, width, height));
      rows.fill(pixels.at(-1) as number, (n * rows.length) / count, ((n + 1) * rows.length) / count);
    }
    return {};
  }

  async close(): Promise<void> {}
}

/** Films carry their frames' numbers in ten squares of 16 pixels in 160 x 120, white for 1, the lowest bit first. */
function frameNumber(rgb: Uint8Array, width: number, height: number): number {
  let number = 0;
  for (let bit = 0; bit < 10; bit++) {
    const [x, y] = [Math.floor(((16 * bit + 8) / 160) * width), Math.floor((8 / 120) * height)];
    if ((rgb[3 * (y * width + x)] as number) > 127) number += 2 ** bit;
  }
  return number;
}

const quiet: EncodeOptions = { onProgress: () => {}, timed: (_, work) => work() };

async function encoded(file: string, options: VisualOptions, told: Partial<EncodeOptions> = {}) {
  const session = new WatchingSession();
  const encoder = new VisionEncoder(session as unknown as Session, 1);
  const video = await openVideo(`${VIDEOS}/${file}`);
  try {
    const planned = planMedia({ kind: "video", name: file, video }, options);
    const { frameTimesS } = await encodeMedia(planned, encoder, { ...quiet, ...told });
    return { planned, frameTimesS, numbers: session.numbers };
  } finally {
    await video.close();
  }
}

describe("the times that are told of a video's frames", () => {
  it.each([
    ["h264-bframes.mp4", { fps: 3 }],
    ["h264-bframes.mp4", { fps: 25, maxFrames: 100 }],
    ["h264-opengop.mkv", { fps: 7 }],
    ["h264-vfr.mp4", { fps: 11, maxFrames: 40 }],
    ["h264-late-start.mp4", { fps: 4 }],
    ["vp9.webm", { fps: 9 }],
  ] as const)("are those of the frames that were encoded: %s, %o", async (file, options) => {
    const { frameTimesS, numbers, planned } = await encoded(file, options);
    const truth = TRUTH[file]?.times as number[];
    const first = truth[0] as number;
    expect(frameTimesS).toHaveLength(planned.plan.frameTimesS?.length as number);
    // To the millisecond, the exactness of a Matroska file's own times.
    const shown = frameTimesS.filter((timeS, i) => timeS !== frameTimesS[i - 1]);
    expect(shown.map((timeS) => timeS.toFixed(3))).toEqual(
      numbers.map((number) => ((truth[number] as number) - first).toFixed(3)),
    );
  });

  it("are those of the frames on show at the times that were planned", async () => {
    const { frameTimesS, planned } = await encoded("h264-bframes.mp4", { fps: 10, maxFrames: 30 });
    const asked = planned.plan.frameTimesS as number[];
    for (const [i, usedS] of frameTimesS.entries()) {
      expect(usedS).toBeLessThanOrEqual((asked[i] as number) + 1e-6);
      expect((asked[i] as number) - usedS).toBeLessThan(1 / 25);
    }
  });
});

/** A film without end that tells how far it has got; each of its pictures stays for some frames. */
function countedFilm(frames: number, stays = 1) {
  const state = { made: 0, hasEnded: true };
  const video: Video = {
    width: 160,
    height: 120,
    durationS: frames,
    codec: "frames",
    close: async () => {},
    async *frames(timesS, { size, signal } = {}) {
      state.hasEnded = false;
      try {
        const { width, height } = size ?? { width: 160, height: 120 };
        for (const [index, timeS] of timesS.entries()) {
          await new Promise((resolve) => setImmediate(resolve));
          signal?.throwIfAborted();
          state.made++;
          const image = { width, height, data: new Uint8Array(3 * width * height) };
          // Every second picture is the same: only neighbours are compared.
          image.data[image.data.length - 1] = Math.floor(index / stays) % 2;
          yield { index, timeS, image };
        }
      } finally {
        state.hasEnded = true;
      }
    },
  };
  const planned: PlannedMedia = planMedia({ kind: "video", name: "film", video }, { maxFrames: frames });
  return { planned, state };
}

describe("a film on its way through decoder and encoder", () => {
  it("has few frames in memory, however long it is, and both stages are told", async () => {
    const { planned, state } = countedFilm(500);
    const session = new WatchingSession();
    const encoder = new VisionEncoder(session as unknown as Session, 1);
    const told = { decode: 0, encode: 0 };
    let most = 0;
    await encodeMedia(planned, encoder, {
      ...quiet,
      onProgress: (stage, pictures) => {
        if (stage === "decode" || stage === "encode") told[stage] = pictures;
        most = Math.max(most, state.made - told.encode);
      },
    });
    expect(told).toEqual({ decode: 500, encode: 500 });
    const batch = encoder.batchSize(planned.shape.views.main);
    expect(most).toBeGreaterThan(batch); // they overlap
    // Those that wait, two batches (encoded, collected), one to compare the next with, and one in the decoder's hand.
    expect(most).toBeLessThanOrEqual(LIMITS.framesAhead + 2 * batch + 2);
  });

  it("is encoded once for each of its pictures, however long they stay", async () => {
    const { planned } = countedFilm(500, 40);
    const session = new WatchingSession();
    const encoder = new VisionEncoder(session as unknown as Session, 1);
    const { frameTimesS, sequence } = await encodeMedia(planned, encoder, quiet);
    expect(frameTimesS).toEqual(planned.plan.frameTimesS);
    expect(frameTimesS).toHaveLength(500);
    expect(session.numbers).toHaveLength(13);
    for (const i of frameTimesS.keys()) {
      expect(new Set(sequence.rows("main", i))).toEqual(new Set([Math.floor(i / 40) % 2]));
    }
  });

  it("leaves nothing running when it is aborted, wherever that is", async () => {
    for (let at = 1; at <= 60; at += 7) {
      const { planned, state } = countedFilm(100);
      const session = new WatchingSession();
      const stop = new AbortController();
      let events = 0;
      const onProgress = () => {
        if (++events === at) stop.abort();
      };
      const encoder = new VisionEncoder(session as unknown as Session, 1);
      await expect(
        encodeMedia(planned, encoder, { ...quiet, signal: stop.signal, onProgress }),
      ).rejects.toThrow();
      expect(state.hasEnded).toBe(true);
      expect(session.running).toBe(0);
      const { made } = state;
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(state.made).toBe(made);
    }
  });
});
