import sharp from "sharp";
import type { MediaItem } from "../engine/request.ts";
import type { RgbImage } from "../media/media.ts";
import type { WorldMedia } from "../world/sample.ts";

/** A picture as the bytes of a PNG file. */
export async function png({ width, height, data }: RgbImage): Promise<Uint8Array> {
  // Pictures are asked about and forgotten: quick to write matters, small does not.
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 1 })
    .toBuffer();
}

/**
 * What the miniature world shows, as a request takes it: an image file, or a list of timestamped ones. Frames that are
 * the same object are the same file.
 */
export async function mediaItem({ modality, pictures, timesS }: WorldMedia): Promise<MediaItem> {
  const distinct = [...new Set(pictures)];
  const files = new Map(await Promise.all(distinct.map(async (p) => [p, await png(p)] as const)));
  const sources = pictures.map((picture) => files.get(picture) as Uint8Array);
  if (modality === "image") return sources[0] as Uint8Array;
  return { frames: sources.map((source, i) => ({ source, timeS: timesS[i] })) };
}

/** Pictures beside and below one another, in reading order, with a grey line between them. */
export function contactSheet(pictures: readonly RgbImage[], columns = 8): RgbImage {
  const across = Math.min(columns, pictures.length);
  const cell = {
    width: Math.max(...pictures.map((p) => p.width)) + GAP,
    height: Math.max(...pictures.map((p) => p.height)) + GAP,
  };
  const width = across * cell.width - GAP;
  const height = Math.ceil(pictures.length / across) * cell.height - GAP;
  const data = new Uint8Array(3 * width * height).fill(0x80);
  pictures.forEach((picture, i) => {
    const left = (i % across) * cell.width;
    const top = Math.floor(i / across) * cell.height;
    for (let y = 0; y < picture.height; y++) {
      const row = picture.data.subarray(3 * y * picture.width, 3 * (y + 1) * picture.width);
      data.set(row, 3 * ((top + y) * width + left));
    }
  });
  return { width, height, data };
}

const GAP = 2;
