import { describe, expect, it } from "vitest";
import { decodeImage } from "../media/image.ts";
import type { RgbImage } from "../media/media.ts";
import { openMedia } from "../node/media.ts";
import { contactSheet, mediaItem, png } from "./pictures.ts";

function plain(width: number, height: number, value: number): RgbImage {
  return { width, height, data: new Uint8Array(3 * width * height).fill(value) };
}

describe("pictures of the world", () => {
  it("reach a model as they were drawn", async () => {
    const data = Uint8Array.from({ length: 3 * 5 * 4 }, (_, i) => (i * 37) % 256);
    const picture = { width: 5, height: 4, data };
    expect(await decodeImage({ bytes: await png(picture) })).toEqual(picture);
  });

  it("are an image, or a video with their times", async () => {
    const [a, b] = [plain(32, 16, 1), plain(32, 16, 2)];
    const image = await openMedia(await mediaItem({ modality: "image", pictures: [a], timesS: [0] }));
    expect(image).toMatchObject({ kind: "image", size: { width: 32, height: 16 } });
    const video = await openMedia(await mediaItem({ modality: "video", pictures: [a, b], timesS: [0, 0.5] }));
    expect(video).toMatchObject({ kind: "video", video: { timesS: [0, 0.5], width: 32 } });
  });

  it("are written once where a film stands still", async () => {
    const [a, b] = [plain(32, 16, 1), plain(32, 16, 2)];
    const item = await mediaItem({ modality: "video_long", pictures: [a, b, a], timesS: [0, 1, 2] });
    const [first, second, third] = (item as { frames: { source: unknown }[] }).frames;
    expect(third?.source).toBe(first?.source);
    expect(second?.source).not.toEqual(first?.source);
  });

  it("stand side by side on a sheet", () => {
    const sheet = contactSheet([plain(4, 3, 10), plain(4, 3, 20), plain(4, 3, 30)], 2);
    expect([sheet.width, sheet.height]).toEqual([10, 8]);
    const at = (x: number, y: number) => sheet.data[3 * (y * sheet.width + x)];
    expect([at(0, 0), at(3, 2), at(6, 0), at(9, 2), at(0, 5), at(3, 7)]).toEqual([10, 10, 20, 20, 30, 30]);
    expect([at(4, 0), at(0, 3), at(6, 5)]).toEqual([128, 128, 128]);
    expect(contactSheet([plain(4, 3, 10)])).toEqual(plain(4, 3, 10));
  });
});
