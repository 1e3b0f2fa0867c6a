import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Size } from "../core/size.ts";
import type { VideoPace } from "../media/media.ts";
import { candidateFrames, sampleTimes, uniformIndices } from "../media/sampling.ts";
import type { ViewLimits } from "../model/views.ts";
import {
  COMPRESSIONS,
  type Compression,
  DEFAULT_COMPRESSION,
  type Modality,
  PAPER,
  type VisualShape,
  videoPath,
  viewsOf,
  visualShape,
  visualTokens,
} from "../model/visual.ts";
import type { ItemPlan, VisualOptions } from "./request.ts";
import type { Task } from "./task.ts";

/** What the headers of an image or video say. */
export type ItemHeader = { name: string; size: Size } & (
  | { kind: "image" }
  | {
      kind: "video";
      durationS: number;
      /** Times of its pictures, where someone chose them. */
      timesS?: readonly number[] | undefined;
      /** What decoding it takes, where that is known. */
      pace?: VideoPace | undefined;
    }
);

/** Tasks about what happens all along a film: they take the frames of a long video, where it is long enough. */
const LONG_TASKS: ReadonlySet<Task | undefined> = new Set(["summarize", "steps"]);

/** An image or video as a request would have it if there were no budget. */
export interface WantedItem {
  header: ItemHeader;
  modality: Modality;
  k: Compression;
  /** Pictures; an image is one. */
  pictures: number;
  /** Pictures that there would be without a bound on them: all that the rate gives, or all that were chosen. */
  candidates: number;
  options: VisualOptions;
  /** Pictures at most, and where that comes from. */
  bound: { pictures: number; by: "request" | "paper" | "task" };
  limits: ViewLimits;
  /** Area from which a smaller one is counted down, and where that ends, in pixels. */
  area: { full: number; least: number };
}

/** What may be lowered. A size step takes a quarter off the area. */
export interface Settings {
  pictures: number;
  k: Compression;
  sizeStep: number;
}

/** An item at chosen settings: what is encoded, in which shape. */
export interface PlannedItem {
  shape: VisualShape;
  plan: ItemPlan;
}

/**
 * Checks what a request says of pictures.
 * @throws OryxError `bad_option`
 */
export function checkVisualOptions({ fps, maxFrames, compress, frameArea, part }: VisualOptions): void {
  if (part !== undefined && !(part.fromS >= 0 && part.fromS < part.toS)) {
    throw new OryxError(
      "bad_option",
      `part is ${part.fromS} to ${part.toS} s`,
      "give its beginning and its end",
    );
  }
  if (compress !== undefined && !COMPRESSIONS.includes(compress)) {
    throw new OryxError("bad_option", `compression is ${compress}`, `give ${COMPRESSIONS.join(", ")}`);
  }
  if (fps !== undefined) checkRange("fps", fps, Number.MIN_VALUE, 1000);
  if (maxFrames !== undefined) checkRange("maxFrames", maxFrames, 1, LIMITS.framesPerVideo, true);
  if (frameArea !== undefined) checkRange("frameArea", frameArea, 1, LIMITS.imagePixels);
}

function checkRange(name: string, value: number, least: number, most: number, whole = false): void {
  if (value >= least && value <= most && (!whole || Number.isInteger(value))) return;
  const kind = whole ? "a whole number" : "a number";
  throw new OryxError("bad_option", `${name} is ${value}`, `give ${kind} above 0, up to ${most}`);
}

/**
 * The paper's rules, with what the request says in place of them.
 * @throws OryxError `bad_option` (an area that the model was not made for), `media_too_large`
 */
export function wantedItem(
  header: ItemHeader,
  options: VisualOptions,
  limits: ViewLimits,
  task?: Task,
): WantedItem {
  const bound = boundOf(options, task);
  const candidates = header.kind === "image" ? 1 : candidatesOf(header, options);
  const pictures = Math.min(candidates, bound.pictures);
  const modality = header.kind === "image" ? "image" : videoPath(pictures);
  const k = options.compress ?? DEFAULT_COMPRESSION[modality];
  const area = areaOf(header, modality, k, limits, options.frameArea);
  return { header, modality, k, pictures, candidates, options, bound, limits, area };
}

function boundOf({ maxFrames }: VisualOptions, task: Task | undefined): WantedItem["bound"] {
  if (maxFrames !== undefined) return { pictures: maxFrames, by: "request" };
  if (LONG_TASKS.has(task)) return { pictures: PAPER.longFrames, by: "task" };
  return { pictures: PAPER.videoFrames, by: "paper" };
}

/** Images end at their overview's area, frames at the least that the model was made for. */
function areaOf(
  { name, size }: ItemHeader,
  modality: Modality,
  k: Compression,
  limits: ViewLimits,
  asked: number | undefined,
): WantedItem["area"] {
  const most = limits[modality].most;
  const least = modality === "image" ? Math.min(limits.image.overview, most) : limits[modality].least;
  if (asked !== undefined && (asked < least || asked > most)) {
    const problem = `frameArea is ${asked}, but this model was made for ${least} to ${most} pixels`;
    throw new OryxError("bad_option", `${name}: ${problem}`, "give an area between them");
  }
  if (asked !== undefined) return { full: asked, least: asked };
  const { main } = viewsOf(size, modality, k, limits);
  return { full: Math.min(most, Math.max(least, main.width * main.height)), least };
}

/** Steps until an item is as small as it may be. */
export function sizeSteps({ area: { full, least } }: WantedItem): number {
  return full <= least ? 0 : Math.ceil(Math.log(least / full) / Math.log(SIZE_STEP));
}

const SIZE_STEP = 3 / 4;

/** How an item's pictures are encoded at a size step. */
export function shapeAt(
  { header, modality, limits, area, options }: WantedItem,
  k: Compression,
  sizeStep: number,
): VisualShape {
  const of = limits[modality];
  // At step 0 the model's own limit holds, so that the paper's rule is followed to the pixel.
  const most =
    sizeStep === 0 ? (options.frameArea ?? of.most) : Math.max(area.least, area.full * SIZE_STEP ** sizeStep);
  const smaller: ViewLimits = { ...limits, [modality]: { ...of, most } };
  return visualShape(header.size, modality, smaller, k);
}

/** An item at settings. Its frames' times are spread over the film however few they are. */
export function itemAt(wanted: WantedItem, { pictures, k, sizeStep }: Settings): PlannedItem {
  const { header, options } = wanted;
  const shape = shapeAt(wanted, k, sizeStep);
  const { modality, views } = shape;
  const plan: ItemPlan = {
    name: header.name,
    modality,
    k,
    source: header.size,
    size: views.main,
    ...(views.low && { overview: views.low }),
    visualTokens: visualTokens(modality, views, k, pictures),
  };
  if (header.kind === "image") return { shape, plan };
  const { durationS } = header;
  const frameTimesS = frameTimes(header, options, pictures);
  const isSampled = chosenTimes(header, options) === undefined && durationS > 0;
  const fps = isSampled ? { fps: frameTimesS.length / stretchOf(header, options).lengthS } : {};
  return { shape, plan: { ...plan, durationS, ...fps, frameTimesS } };
}

type VideoHeader = Extract<ItemHeader, { kind: "video" }>;

/** Pictures that someone chose, unless they are to be sampled like a film. */
function chosenTimes(
  { name, timesS }: VideoHeader,
  { fps, part }: VisualOptions,
): readonly number[] | undefined {
  if (fps !== undefined || part === undefined) return fps === undefined ? timesS : undefined;
  const inside = timesS?.filter((time) => time >= part.fromS && time < part.toS);
  if (inside?.length !== 0) return inside;
  throw new OryxError("bad_option", `${name}: no picture is of that part`, "give another part of it");
}

/** The stretch of a film that is looked at: where it begins, and how long it is. */
function stretchOf(
  { name, durationS }: VideoHeader,
  { part = { fromS: 0, toS: durationS } }: VisualOptions,
): { fromS: number; lengthS: number } {
  const { fromS, toS } = part;
  if (fromS === 0 || fromS < durationS) return { fromS, lengthS: Math.min(toS, durationS) - fromS };
  const problem = `${name}: the part begins at ${fromS} s, the video ends at ${durationS} s`;
  throw new OryxError("bad_option", problem, "give a part of it");
}

/** A single picture is shown once, at whatever rate; several are seen as a film would be, for as long as each lasts. */
const mostPictures = ({ timesS }: VideoHeader): number =>
  timesS?.length === 1 ? 1 : Number.POSITIVE_INFINITY;

function candidatesOf(header: VideoHeader, options: VisualOptions): number {
  const chosen = chosenTimes(header, options);
  if (chosen !== undefined) return chosen.length;
  const frames = candidateFrames(stretchOf(header, options).lengthS, options.fps ?? PAPER.fps);
  return Math.min(frames, mostPictures(header));
}

/** Pictures that someone chose are all taken, up to the limit; a film is sampled. */
function frameTimes(header: VideoHeader, options: VisualOptions, most: number): number[] {
  const chosen = chosenTimes(header, options);
  if (chosen !== undefined) return uniformIndices(chosen.length, most).map((i) => chosen[i] as number);
  const { fromS, lengthS } = stretchOf(header, options);
  const maxFrames = Math.min(most, mostPictures(header));
  const times = sampleTimes({ durationS: lengthS, fps: options.fps ?? PAPER.fps, maxFrames });
  return times.map((time) => fromS + time);
}
