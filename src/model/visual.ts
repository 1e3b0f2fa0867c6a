import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Size } from "../core/size.ts";
import type { Mark } from "./oryx.ts";
import { PUBLISHED_VIEWS, type ViewLimits } from "./views.ts";
import { PATCH } from "./vit.ts";

/** How pictures become visual tokens: the paths of the paper, their sizes, and the order of the sequence. */

export const MODALITIES = ["image", "video", "video_long"] as const;
export type Modality = (typeof MODALITIES)[number];

/** Side of the square of patches that becomes one visual token. */
export const COMPRESSIONS = [1, 2, 4] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** The paper's compression on each path. */
export const DEFAULT_COMPRESSION: Readonly<Record<Modality, Compression>> = {
  image: 1,
  video: 2,
  video_long: 4,
};

/** The paper's: frames a second; frames of a video at most; frames of a long video at most, in training. */
export const PAPER = { fps: 1, videoFrames: 64, longFrames: 256 } as const;

/** The path of a video of which so many frames are shown. */
export const videoPath = (frames: number): "video" | "video_long" =>
  frames > PAPER.videoFrames ? "video_long" : "video";

/** An image whose short side is below `least` is first enlarged until that side is `enlarged`. */
const SLIVER = { least: 32, enlarged: 64 } as const;

/** The sizes to which a picture is resized, one after the other, and which of them are encoded. */
export interface Views {
  /** An enlargement before the first view, for slivers. */
  enlarged?: Size;
  /** What a frame, or an image's high view, is resized to. */
  main: Size;
  /** An image's overview, made from the main view. */
  low?: Size;
}

/**
 * Sizes of the views of one picture.
 * @throws OryxError `media_too_large` when a view would have a side beyond `LIMITS.imageSide`.
 */
export function viewsOf(
  source: Size,
  modality: Modality,
  k: Compression,
  limits: ViewLimits = PUBLISHED_VIEWS,
): Views {
  // Both sides must hold whole regions of k x k patches.
  const stride = Math.max(limits[modality].stride, PATCH * k);
  if (modality !== "image") {
    const { least, most } = limits[modality];
    return { main: checked(strided(source, clampedScale(source, least, most), stride), source) };
  }
  const { most, overview } = limits.image;
  const short = Math.min(source.width, source.height);
  const enlarged = short < SLIVER.least ? truncated(source, SLIVER.enlarged / short) : undefined;
  const start = enlarged === undefined ? source : checked(enlarged, source);
  const main = checked(strided(start, clampedScale(start, 0, most), stride), source);
  const low = checked(strided(main, clampedScale(main, overview, overview), stride), source);
  return enlarged === undefined ? { main, low } : { enlarged, main, low };
}

/** How pictures of a size are encoded on the path of a modality. @throws OryxError `media_too_large`. */
export function visualShape(
  size: Size,
  modality: Modality,
  limits: ViewLimits = PUBLISHED_VIEWS,
  k: Compression = DEFAULT_COMPRESSION[modality],
): VisualShape {
  return { modality, k, views: viewsOf(size, modality, k, limits) };
}

/** The factor that brings the area into [least, most]. */
function clampedScale({ width, height }: Size, least: number, most: number): number {
  const area = width * height;
  if (area > most) return Math.sqrt(most / area);
  if (area < least) return Math.sqrt(least / area);
  return 1;
}

const truncated = ({ width, height }: Size, scale: number): Size => ({
  width: Math.floor(width * scale),
  height: Math.floor(height * scale),
});

/** Whole strides; a side that would become 0 becomes one stride. */
function strided({ width, height }: Size, scale: number, stride: number): Size {
  const whole = (side: number) => Math.max(1, Math.floor((side * scale) / stride)) * stride;
  return { width: whole(width), height: whole(height) };
}

function checked(view: Size, source: Size): Size {
  if (Math.max(view.width, view.height) > LIMITS.imageSide) {
    const problem = `a picture of ${source.width}x${source.height} would become ${view.width}x${view.height} pixels`;
    throw new OryxError("media_too_large", problem, "crop it: it is too long for its width");
  }
  return view;
}

/** How one image or video becomes visual tokens. */
export interface VisualShape {
  modality: Modality;
  k: Compression;
  views: Views;
}

/** One stretch of a visual sequence: a mark, or all rows of a view of a picture. */
export type VisualPart = { mark: Mark } | { picture: number; view: "main" | "low" };

/** The order of a visual sequence: an image's overview before its main view; a video's frames one after the other. */
export function visualSequence(modality: Modality, pictures: number): VisualPart[] {
  if (modality === "image") {
    return [
      { mark: "begin" },
      { picture: 0, view: "low" },
      { mark: "sep" },
      { picture: 0, view: "main" },
      { mark: "end" },
    ];
  }
  const frames = Array.from({ length: pictures }, (_, picture): VisualPart[] => [
    { picture, view: "main" },
    { mark: "sep" },
  ]);
  return [{ mark: "begin" }, ...frames.flat(), { mark: "end" }];
}

/** Visual tokens of one view: its rows of k x k regions, each closed by a newline. */
export function viewTokens({ width, height }: Size, k: Compression): number {
  return (height / (PATCH * k)) * (width / (PATCH * k) + 1);
}

/** Visual tokens of a whole image or video, marks included. */
export function visualTokens(modality: Modality, views: Views, k: Compression, pictures: number): number {
  const main = viewTokens(views.main, k);
  if (modality !== "image") return 1 + pictures * (main + 1) + 1;
  return 1 + viewTokens(views.low as Size, k) + 1 + main + 1;
}
