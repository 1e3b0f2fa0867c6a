import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { OryxError } from "../core/errors.ts";
import { openVideo } from "./video.ts";

/** Opens a film and decodes a few frames: what comes out, or the code of the error. Any other error fails the test. */
async function attempt(bytes: Uint8Array): Promise<string> {
  try {
    const video = await openVideo({ bytes });
    try {
      for await (const { image } of video.frames(
        [0, 0.3, video.durationS / 2].sort((a, b) => a - b),
        SIZE,
      )) {
        expect(image.data.length).toBe(3 * 32 * 32);
      }
    } finally {
      await video.close();
    }
    return "frames";
  } catch (error) {
    if (error instanceof OryxError) return error.code;
    throw error;
  }
}

// The system's ffmpeg, where there is one, would be started over and over: it is not what is tested here.
beforeAll(() => void vi.stubEnv("PATH", ""));
afterAll(() => void vi.unstubAllEnvs());

const SIZE = { size: { width: 32, height: 32 } };

describe.each(["h264-bt709.mp4", "h264-fragmented.mp4", "vp9.webm", "h265.mp4", "av1.webm", "vp8.webm"])(
  "%s",
  (name) => {
    const whole = new Uint8Array(readFileSync(`test/fixtures/videos/${name}`));
    it("gives frames or a coded error wherever it is cut", async () => {
      for (let part = 0; part < 20; part++) {
        const code = await attempt(whole.slice(0, Math.floor((whole.length * part) / 20)));
        expect(code).toMatch(/^(frames|media_\w+)$/);
      }
    });

    it("gives frames or a coded error whatever bytes are changed", async () => {
      // Half of the changes hit the first kilobytes or the last, where headers and indices are.
      const place = fc.oneof(
        fc.integer({ min: 0, max: 2000 }),
        fc.integer({ min: whole.length - 2000, max: whole.length - 1 }),
        fc.integer({ min: 0, max: whole.length - 1 }),
      );
      const change = fc.record({ at: place, value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff) });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
          const bytes = whole.slice();
          for (const { at, value } of changes) bytes[at] = value;
          expect(await attempt(bytes)).toMatch(/^(frames|media_\w+)$/);
        }),
        { numRuns: 40 },
      );
    });
  },
);
