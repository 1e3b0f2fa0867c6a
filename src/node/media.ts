import { OryxError } from "../core/errors.ts";
import type { OpenedMedia } from "../engine/media.ts";
import type { MediaItem } from "../engine/request.ts";
import { decodeImage, type ImageInfo, probeImage } from "../media/image.ts";
import type { MediaSource } from "../media/media.ts";
import { openVideo } from "../media/video.ts";
import { videoFromFrames } from "../media/video-frames.ts";

/** Opens an image or video in Node: what it is, its bytes say, not its name. */
export async function openMedia(item: MediaItem, signal?: AbortSignal): Promise<OpenedMedia> {
  if (typeof item === "object" && "frames" in item) {
    return { kind: "video", name: item.name ?? "frames", video: await videoFromFrames([...item.frames]) };
  }
  const image = await probeIfImage(item);
  if (image === undefined)
    return { kind: "video", name: nameOf(item), video: await openVideo(item, { signal }) };
  const { width, height } = image;
  return {
    kind: "image",
    name: nameOf(item),
    size: { width, height },
    decode: (s) => decodeImage(item, { signal: s }),
  };
}

/** The image's header; undefined when the bytes are of no image format. */
async function probeIfImage(source: MediaSource): Promise<ImageInfo | undefined> {
  try {
    return await probeImage(source);
  } catch (error) {
    if (error instanceof OryxError && error.code === "media_unsupported") return undefined;
    throw error;
  }
}

const nameOf = (source: MediaSource): string =>
  typeof source === "string" ? source : (source.name ?? `${source.bytes.length} bytes`);
