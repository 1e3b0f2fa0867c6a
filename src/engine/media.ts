import type { Size } from "../core/size.ts";
import type { RgbImage, Video } from "../media/media.ts";
import { PUBLISHED_VIEWS, type ViewLimits } from "../model/views.ts";
import { checkVisualOptions, type ItemHeader, itemAt, type PlannedItem, wantedItem } from "./plan-item.ts";
import type { MediaItem, VisualOptions } from "./request.ts";

/** An image or video whose headers have been read, and nothing more. */
export type OpenedMedia = { name: string; content?: MediaContent | undefined } & (
  | { kind: "image"; size: Size; decode: (signal?: AbortSignal) => Promise<RgbImage> }
  | { kind: "video"; video: Video }
);

/** The bytes of a medium, as caches know them. */
export interface MediaContent {
  /** Hash of all of them; undefined when they change while they are read. */
  digest: (signal?: AbortSignal) => Promise<string | undefined>;
  /** Whether they still are what the hash was made of. */
  isUnchanged: (signal?: AbortSignal) => Promise<boolean>;
}

/** Opens media files; each platform has its own. */
export type OpenMedia = (item: MediaItem, signal?: AbortSignal) => Promise<OpenedMedia>;

/** One image or video with what will be done with it. */
export interface PlannedMedia extends PlannedItem {
  opened: OpenedMedia;
}

/**
 * What the headers of opened media say.
 * @param isPaced whether to look, in a film's index, for what decoding it takes
 */
export async function headerOf(opened: OpenedMedia, isPaced = false): Promise<ItemHeader> {
  const header = headersOf(opened);
  if (header.kind === "image" || opened.kind === "image" || !isPaced) return header;
  return { ...header, pace: await opened.video.pace?.() };
}

function headersOf({ name, ...opened }: OpenedMedia): ItemHeader {
  if (opened.kind === "image") return { kind: "image", name, size: opened.size };
  const { width, height, durationS, timesS } = opened.video;
  return { kind: "video", name, size: { width, height }, durationS, timesS };
}

/**
 * Plans an image or video by the paper's rules and nothing else, for a model that was trained with such views.
 * @throws OryxError `bad_option`, `media_too_large`
 */
export function planMedia(
  opened: OpenedMedia,
  options: VisualOptions,
  limits: ViewLimits = PUBLISHED_VIEWS,
): PlannedMedia {
  checkVisualOptions(options);
  const wanted = wantedItem(headersOf(opened), options, limits);
  const { pictures, k } = wanted;
  return { opened, ...itemAt(wanted, { pictures, k, sizeStep: 0 }) };
}
