import { OryxError } from "../core/errors.ts";
import type { OpenedMedia } from "../engine/media.ts";
import type { Frame, MediaItem } from "../engine/request.ts";
import { decodeImage, type ImageInfo, probeImage } from "../media/image.ts";
import type { MediaSource } from "../media/media.ts";
import { openVideo } from "../media/video.ts";
import { type TimedImage, videoFromFrames } from "../media/video-frames.ts";

/** Opens an image or video in Node: what it is, its bytes say, not its name. */
export async function openMedia(item: MediaItem, signal?: AbortSignal): Promise<OpenedMedia> {
  if (typeof item === "object" && "frames" in item) {
    return {
      kind: "video",
      name: item.name ?? "frames",
      video: await videoFromFrames(item.frames.map(timedImage)),
    };
  }
  const source = sourceOf(item);
  const name = typeof source === "string" ? source : (source.name ?? `${source.bytes.length} bytes`);
  const image = await probeIfImage(source);
  if (image === undefined) return { kind: "video", name, video: await openVideo(source, { signal }) };
  const { width, height } = image;
  return { kind: "image", name, size: { width, height }, decode: (s) => decodeImage(source, { signal: s }) };
}

const sourceOf = (item: MediaSource | Uint8Array): MediaSource =>
  item instanceof Uint8Array ? { bytes: item } : item;

function timedImage(frame: Frame): TimedImage {
  if (typeof frame === "string" || frame instanceof Uint8Array || "bytes" in frame)
    return { source: sourceOf(frame) };
  const source = sourceOf(frame.source);
  return frame.timeS === undefined ? { source } : { source, timeS: frame.timeS };
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
