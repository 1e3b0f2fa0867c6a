import { OryxError } from "../core/errors.ts";
import type { OpenedMedia, OpenMedia } from "../engine/media.ts";
import type { Frame, MediaItem } from "../engine/request.ts";
import { decodeImage, type ImageInfo, probeImage } from "../media/image.ts";
import type { MediaSource } from "../media/media.ts";
import { openVideo } from "../media/video.ts";
import { type TimedImage, videoFromFrames } from "../media/video-frames.ts";
import type { ContentHashes } from "./content.ts";

/** Opens an image or video in Node: what it is, its bytes say, not its name. */
export const openMedia: OpenMedia = (item, signal) => opened(item, undefined, signal);

/** The same, with the hashes that caches need. */
export const mediaOpener =
  (hashes: ContentHashes): OpenMedia =>
  (item, signal) =>
    opened(item, hashes, signal);

async function opened(item: MediaItem, hashes?: ContentHashes, signal?: AbortSignal): Promise<OpenedMedia> {
  if (typeof item === "object" && "frames" in item) {
    const frames = item.frames.map(timedImage);
    const content = await hashes?.frames(frames, signal);
    return { kind: "video", name: item.name ?? "frames", video: await videoFromFrames(frames), content };
  }
  const source = sourceOf(item);
  const content = await hashes?.media(source, signal); // first: what is opened must be what is hashed
  const name = typeof source === "string" ? source : (source.name ?? `${source.bytes.length} bytes`);
  const image = await probeIfImage(source);
  if (image === undefined)
    return { kind: "video", name, video: await openVideo(source, { signal }), content };
  const { width, height } = image;
  const decode = (s?: AbortSignal) => decodeImage(source, { signal: s });
  return { kind: "image", name, size: { width, height }, decode, content };
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
