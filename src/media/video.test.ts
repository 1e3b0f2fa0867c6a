import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { decodeImage } from "./image.ts";
import type { RgbImage, Video, VideoFrame } from "./media.ts";
import { resize } from "./resize.ts";
import { openVideo } from "./video.ts";

const FILMS = "test/fixtures/videos";
const film = (name: string) => join(FILMS, name);
const bytesOf = (name: string) => new Uint8Array(readFileSync(film(name)));

interface Truth {
  width: number;
  height: number;
  times: number[];
  frame: number;
  means: number[][];
}
const TRUTH: Record<string, Truth> = JSON.parse(readFileSync(film("truth.json"), "utf8"));
/** mpeg4.avi needs a system ffmpeg and has a test of its own. */
const NATIVE = Object.keys(TRUTH).filter((name) => !name.endsWith(".avi"));

/** Reads the number that is drawn into a frame: ten squares along the edge that was stored as the top. */
function numberIn(image: RgbImage, name: string): number {
  const turned = name.includes("rotated");
  const along = turned ? image.height : image.width;
  let number = 0;
  for (let bit = 0; bit < 10; bit++) {
    const far = Math.floor(((16 * bit + 8) * along) / 160);
    const [x, y] = turned ? [8, image.height - 1 - far] : [far, 8];
    if (image.data[3 * (y * image.width + x)]! > 128) number |= 1 << bit;
  }
  return number;
}

function gridMeans({ width, height, data }: RgbImage): number[][] {
  const cells = Array.from({ length: 48 }, () => ({ sums: [0, 0, 0], count: 0 }));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const cell = cells[Math.floor((y * 6) / height) * 8 + Math.floor((x * 8) / width)]!;
      cell.count++;
      for (let c = 0; c < 3; c++) cell.sums[c]! += data[3 * (y * width + x) + c]!;
    }
  }
  return cells.map(({ sums, count }) => sums.map((sum) => sum / count));
}

async function withVideo<T>(name: string, use: (video: Video) => Promise<T>): Promise<T> {
  const video = await openVideo(film(name));
  try {
    return await use(video);
  } finally {
    await video.close();
  }
}

async function collect(frames: AsyncIterable<VideoFrame>): Promise<VideoFrame[]> {
  const all: VideoFrame[] = [];
  for await (const frame of frames) all.push(frame);
  return all;
}

describe.each(NATIVE)("%s", (name) => {
  const truth = TRUTH[name]!;

  it("has the size that ffmpeg shows", async () => {
    await withVideo(name, async ({ width, height }) => {
      expect({ width, height }).toEqual({ width: truth.width, height: truth.height });
    });
  });

  it("gives every frame, each at ffprobe's time, when all times are asked for", async () => {
    const frames = await withVideo(name, (video) => collect(video.frames(truth.times)));
    expect(frames.map(({ image }) => numberIn(image, name))).toEqual(truth.times.map((_, n) => n));
    frames.forEach(({ timeS, index }, n) => {
      expect(index).toBe(n);
      expect(timeS).toBeCloseTo(truth.times[n]!, 5);
    });
  });

  it("gives the frame on show at sparse times between the frames", async () => {
    const picked = truth.times.flatMap((_, n) => (n % 17 === 11 ? [n] : []));
    const between = picked.map((n) => {
      const next = truth.times[n + 1] ?? truth.times[n]! + 0.02;
      return truth.times[n]! + 0.9 * (next - truth.times[n]!);
    });
    const frames = await withVideo(name, (video) => collect(video.frames(between)));
    expect(frames.map(({ image }) => numberIn(image, name))).toEqual(picked);
    frames.forEach(({ timeS }, i) => {
      expect(timeS).toBeCloseTo(truth.times[picked[i]!]!, 5);
    });
  });

  it("has the colours of ffmpeg's own conversion", async () => {
    const [frame] = await withVideo(name, (video) => collect(video.frames([truth.times[truth.frame]!])));
    const means = gridMeans(frame!.image);
    // swscale's tables round down; for a wide pixel or more than 8 bits it interpolates chroma as well.
    const tolerance = /anamorphic|10bit/.test(name) ? 4 : 2;
    const worst = Math.max(
      ...means.flatMap((mean, i) => mean.map((m, c) => Math.abs(m - truth.means[i]![c]!))),
    );
    expect(worst).toBeLessThan(tolerance);
  });
});

describe("frames", () => {
  it("are ffmpeg's pixels within three levels", async () => {
    const truth = await decodeImage(film("h264-bframes-100.png"));
    const [frame] = await withVideo("h264-bframes.mp4", (video) => collect(video.frames([4])));
    const worst = frame!.image.data.reduce(
      (most, level, i) => Math.max(most, Math.abs(level - truth.data[i]!)),
      0,
    );
    expect(worst).toBeLessThanOrEqual(3);
  });

  it("are the first frame before the start and the last one after the end", async () => {
    await withVideo("h264-bframes.mp4", async (video) => {
      const frames = await collect(video.frames([-5, 0, 5.999, 7, 1e9]));
      expect(frames.map(({ image }) => numberIn(image, ""))).toEqual([0, 0, 149, 149, 149]);
      expect(frames.map(({ timeS }) => timeS)).toEqual([0, 0, 5.96, 5.96, 5.96]);
      expect(video.durationS).toBeCloseTo(6, 5);
    });
  });

  it("are found again at the very times that were reported", async () => {
    await withVideo("h264-vfr.mp4", async (video) => {
      const first = await collect(video.frames(TRUTH["h264-vfr.mp4"]!.times));
      const again = await collect(video.frames(first.map(({ timeS }) => timeS)));
      expect(again.map(({ timeS }) => timeS)).toEqual(first.map(({ timeS }) => timeS));
      expect(again.every(({ image }, i) => Buffer.compare(image.data, first[i]!.image.data) === 0)).toBe(
        true,
      );
    });
  });

  it("are resized as Pillow would resize the whole frame", async () => {
    await withVideo("sample.mp4", async (video) => {
      const size = { width: 128, height: 64 };
      const [whole] = await collect(video.frames([2]));
      const [small] = await collect(video.frames([2], { size }));
      expect(small!.image).toEqual(resize(whole!.image, 128, 64));
    });
  });

  it("can be asked for again, and by two readers in turns", async () => {
    await withVideo("h264-bframes.mp4", async (video) => {
      const readers = [video.frames([1, 3, 5]), video.frames([0, 2, 4])];
      const seen: number[] = [];
      for (let i = 0; i < 3; i++) {
        for (const reader of readers) {
          const { value } = await reader.next();
          seen.push(numberIn((value as VideoFrame).image, ""));
        }
      }
      expect(seen).toEqual([25, 0, 75, 50, 125, 100]);
    });
  });

  it("come from bytes as from a file", async () => {
    const video = await openVideo({ bytes: bytesOf("vp9.webm"), name: "clip" });
    const [fromBytes] = await collect(video.frames([1]));
    await video.close();
    const [fromFile] = await withVideo("vp9.webm", (same) => collect(same.frames([1])));
    expect(fromBytes).toEqual(fromFile);
  });

  it.each([[[1, 0]], [[Number.NaN]], [[Number.POSITIVE_INFINITY]], [new Array(10_001).fill(0)]])(
    "are refused at senseless times",
    async (times) => {
      await withVideo("sample.mp4", async (video) => {
        await expect(collect(video.frames(times))).rejects.toMatchObject({ code: "bad_option" });
        expect(await collect(video.frames([]))).toEqual([]);
      });
    },
  );

  it("are refused at senseless sizes", async () => {
    await withVideo("sample.mp4", async (video) => {
      for (const size of [
        { width: 0, height: 4 },
        { width: 4, height: 1.5 },
        { width: 60_000, height: 60_000 },
      ]) {
        await expect(collect(video.frames([0], { size }))).rejects.toMatchObject({ code: "bad_option" });
      }
    });
  });
});

describe("ending early", () => {
  it("stops at an abort, before and between frames", async () => {
    await withVideo("h264-bframes.mp4", async (video) => {
      const abort = new AbortController();
      const frames = video.frames([0, 1, 2, 3], { signal: abort.signal });
      await frames.next();
      abort.abort();
      await expect(frames.next()).rejects.toMatchObject({ code: "aborted" });
      await expect(collect(video.frames([0], { signal: abort.signal }))).rejects.toMatchObject({
        code: "aborted",
      });
      await expect(openVideo(film("sample.mp4"), { signal: abort.signal })).rejects.toMatchObject({
        code: "aborted",
      });
    });
  });

  it("closes under a reader, even in the middle of a frame", async () => {
    const video = await openVideo(film("h264-bframes.mp4"));
    const frames = video.frames([0, 1, 5]);
    await frames.next();
    const next = frames.next();
    const closed = Promise.all([video.close(), video.close()]);
    await expect(next).rejects.toMatchObject({ code: "closed" });
    await closed;
    await expect(collect(video.frames([0]))).rejects.toMatchObject({ code: "closed" });
  });

  it("goes on after a reader left its loop", async () => {
    await withVideo("h264-bframes.mp4", async (video) => {
      for await (const _ of video.frames([0, 1, 2])) break;
      expect(await collect(video.frames([1]))).toHaveLength(1);
    });
  });

  it("frees the decoder however the reading ends", async () => {
    const { nodeAvDecoder } = await import("./video-node-av.ts");
    let open = 0;
    const video = await openVideo(film("h264-bframes.mp4"), {
      decoder: async (config) => {
        const decoder = await nodeAvDecoder(config);
        open++;
        return {
          decode: (packet) => decoder.decode(packet),
          flush: () => decoder.flush(),
          close: async () => {
            open--;
            await decoder.close();
          },
        };
      },
    });
    await collect(video.frames([0, 1]));
    for await (const _ of video.frames([0, 1])) break;
    const abort = AbortSignal.abort();
    await expect(collect(video.frames([0, 1], { signal: abort }))).rejects.toThrow();
    expect(open).toBe(0);
    await video.close();
  });
});

describe("files that are no good", () => {
  const folder = mkdtempSync(join(tmpdir(), "oryx-test-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const write = (name: string, data: Uint8Array | string) => {
    writeFileSync(join(folder, name), data);
    return join(folder, name);
  };

  it.each([
    ["media_missing", () => join(folder, "nowhere.mp4")],
    ["media_missing", () => "https://example.org/film.mp4"],
    ["media_unreadable", () => folder],
    ["media_unreadable", () => "/dev/zero"],
    ["media_empty", () => write("empty.mp4", "")],
    ["media_unsupported", () => write("text.mp4", "Call me Ishmael. Some years ago, never mind how long.")],
    ["media_unsupported", () => write("short.mp4", "a")],
    ["media_unsupported", () => write("photo.heic", "\0\0\0\x18ftypheic\0\0\0\0mif1heic")],
    ["media_no_video", () => film("audio-only.mp4")],
    ["media_malformed", () => write("head.mp4", "\0\0\0\x10ftypisom\0\0\0\0")],
    ["media_malformed", () => write("head.webm", Buffer.from("1a45dfa3", "hex"))],
  ])("are %s", async (code, make) => {
    await expect(openVideo(make())).rejects.toMatchObject({ name: "OryxError", code });
  });

  it("are malformed when the index is cut off", async () => {
    const whole = bytesOf("h264-bframes.mp4"); // its index comes last
    const cut = write("cut.mp4", whole.subarray(0, whole.length - 200));
    await expect(openVideo(cut)).rejects.toMatchObject({ code: "media_malformed" });
  });

  it.each(["sample.mp4", "vp9.webm"])(
    "give the frames before the cut and an error after it: %s",
    async (name) => {
      const whole = bytesOf(name);
      const video = await openVideo({ bytes: whole.subarray(0, Math.floor(whole.length * 0.7)) });
      const end = video.durationS - 0.05;
      expect(await collect(video.frames([0, 0.5]))).toHaveLength(2);
      await expect(collect(video.frames([0, end]))).rejects.toMatchObject({ code: "media_malformed" });
      await video.close();
    },
  );

  it("have no decoder when there is none for their codec and no ffmpeg", async () => {
    vi.stubEnv("PATH", "");
    const bytes = bytesOf("sample.mp4");
    bytes.set(Buffer.from("xvc1"), Buffer.from(bytes).indexOf("avc1", 64));
    await expect(openVideo({ bytes })).rejects.toMatchObject({ code: "media_no_decoder" });
    await expect(openVideo(film("mpeg4.avi"))).rejects.toMatchObject({
      code: "media_unsupported",
      message: expect.stringContaining("ffmpeg"),
    });
    vi.unstubAllEnvs();
  });

  it.each([
    ["stts", 12, "frames that last for ever"],
    ["stts", 8, "a table longer than its box"],
    ["stsz", 12, "frames without sizes"],
    ["stsc", 16, "a chunk of all frames of the world"],
    ["ctts", 8, "offsets for nobody"],
  ])("are malformed when the %s table lies at byte %i: %s", async (table, at) => {
    const bytes = bytesOf("h264-bframes.mp4");
    const start = Buffer.from(bytes).indexOf(table);
    new DataView(bytes.buffer).setUint32(start + at, 0xfffffff0);
    await expect(openVideo({ bytes })).rejects.toMatchObject({ code: "media_malformed" });
  });

  it("are malformed when their parts lead a demuxer in circles", async () => {
    const bytes = bytesOf("vp9.webm");
    bytes[Buffer.from(bytes).indexOf(Buffer.from("1f43b675", "hex")) + 4] = 0; // a cluster of no valid length
    await expect(openVideo({ bytes })).rejects.toMatchObject({ code: "media_malformed" });
  });

  it("are malformed when their index is nested without end", async () => {
    const depth = 20_000;
    const bytes = new Uint8Array(8 * (depth + 2));
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < depth + 2; i++) {
      view.setUint32(8 * i, i === 0 ? 8 : bytes.length - 8 * i);
      bytes.set(Buffer.from(i === 0 ? "ftyp" : "moov"), 8 * i + 4);
    }
    await expect(openVideo({ bytes })).rejects.toMatchObject({ code: "media_malformed" });
  });

  it("are too large when giant pictures are declared", async () => {
    const bytes = bytesOf("sample.mp4");
    const entry = Buffer.from(bytes).indexOf("avc1", 64);
    new DataView(bytes.buffer).setUint16(entry + 28, 65_535);
    new DataView(bytes.buffer).setUint16(entry + 30, 65_535);
    await expect(openVideo({ bytes })).rejects.toMatchObject({ code: "media_too_large" });
  });
});

describe("a film's pace", () => {
  it.each([
    ["h264-bframes.mp4", 25, 2],
    ["h264-fragmented.mp4", 25, 1],
    ["av1.webm", 25, 1],
  ])(
    "of %s is %d frames a second, with key frames %d s apart",
    async (name, framesPerSecond, keyIntervalS) => {
      const pace = await withVideo(name, (video) => video.pace?.() ?? Promise.reject());
      expect(pace.framesPerSecond).toBeCloseTo(framesPerSecond, 3);
      expect(pace.keyIntervalS).toBeCloseTo(keyIntervalS, 3);
    },
  );
});
