import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { RgbImage, Video } from "../media/media.ts";
import { resizeInSteps } from "../media/resize.ts";
import { sampleTimes, uniformIndices } from "../media/sampling.ts";
import { PUBLISHED_VIEWS, type ViewLimits } from "../model/views.ts";
import {
  COMPRESSIONS,
  DEFAULT_COMPRESSION,
  type Size,
  type VisualShape,
  viewsOf,
  visualTokens,
} from "../model/visual.ts";
import { type VisionEncoder, VisualSequence } from "./encoder.ts";
import type { ItemPlan, MediaItem, Stage, VisualOptions } from "./request.ts";

/** The paper's bound between a video and a long one. */
const VIDEO_FRAMES = 64;

/** An image or video whose headers have been read, and nothing more. */
export type OpenedMedia =
  | { kind: "image"; name: string; size: Size; decode: (signal?: AbortSignal) => Promise<RgbImage> }
  | { kind: "video"; name: string; video: Video };

/** Opens media files; each platform has its own. */
export type OpenMedia = (item: MediaItem, signal?: AbortSignal) => Promise<OpenedMedia>;

/** One image or video with what will be done with it. */
export interface PlannedMedia {
  opened: OpenedMedia;
  shape: VisualShape;
  plan: ItemPlan;
}

/** Plans an image or video from its headers, for a model that was trained with such views. @throws OryxError `bad_option`, `media_too_large`. */
export function planMedia(
  opened: OpenedMedia,
  options: VisualOptions,
  limits: ViewLimits = PUBLISHED_VIEWS,
): PlannedMedia {
  const { fps, maxFrames = VIDEO_FRAMES, compress } = options;
  if (compress !== undefined && !COMPRESSIONS.includes(compress)) {
    throw new OryxError("bad_option", `compression is ${compress}`, `give ${COMPRESSIONS.join(", ")}`);
  }
  if (fps !== undefined) checkRange("fps", fps, Number.MIN_VALUE, 1000);
  checkRange("maxFrames", maxFrames, 1, LIMITS.framesPerVideo);
  if (opened.kind === "image") {
    const k = compress ?? DEFAULT_COMPRESSION.image;
    const shape: VisualShape = { modality: "image", k, views: viewsOf(opened.size, "image", k, limits) };
    return { opened, shape, plan: itemPlan(opened.name, opened.size, shape, 1) };
  }
  const { video } = opened;
  const times = frameTimes(video, options.fps, maxFrames);
  const modality = times.length > VIDEO_FRAMES ? "video_long" : "video";
  const k = compress ?? DEFAULT_COMPRESSION[modality];
  const shape: VisualShape = { modality, k, views: viewsOf(video, modality, k, limits) };
  const plan = itemPlan(opened.name, { width: video.width, height: video.height }, shape, times.length);
  return { opened, shape, plan: { ...plan, durationS: video.durationS, frameTimesS: times } };
}

/** Pictures that someone chose are all taken, up to the limit; a film is sampled. */
function frameTimes(video: Video, fps: number | undefined, maxFrames: number): number[] {
  if (video.timesS === undefined || fps !== undefined) {
    return sampleTimes({ durationS: video.durationS, fps: fps ?? 1, maxFrames });
  }
  const all = video.timesS;
  return uniformIndices(all.length, maxFrames).map((i) => all[i] as number);
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (!(value >= least && value <= most)) {
    throw new OryxError("bad_option", `${name} is ${value}`, `give a number above 0, up to ${most}`);
  }
}

function itemPlan(
  name: string,
  source: Size,
  { modality, k, views }: VisualShape,
  pictures: number,
): ItemPlan {
  return {
    name,
    modality,
    k,
    source,
    size: views.main,
    ...(views.low && { overview: views.low }),
    visualTokens: visualTokens(modality, views, k, pictures),
  };
}

/** What encoding tells while it works. */
export interface EncodeOptions {
  signal?: AbortSignal | undefined;
  onProgress: (stage: Stage, pictures: number) => void;
  /** Adds the time that a piece of work took to its stage. */
  timed: <T>(stage: Stage, work: () => Promise<T>) => Promise<T>;
}

/** An image or video as visual tokens, with the times of the frames that were used. */
export interface EncodedMedia {
  sequence: VisualSequence;
  frameTimesS: number[];
}

/** Decodes and encodes what was planned. */
export async function encodeMedia(
  { opened, shape, plan }: PlannedMedia,
  encoder: VisionEncoder,
  options: EncodeOptions,
): Promise<EncodedMedia> {
  const pictures = plan.frameTimesS?.length ?? 1;
  const sequence = new VisualSequence(shape, pictures, await encoder.marks(), encoder.width);
  if (opened.kind === "image") {
    await encodeImage(opened.decode, shape, sequence, encoder, options);
    return { sequence, frameTimesS: [] };
  }
  const frameTimesS = await encodeVideo(
    opened.video,
    plan.frameTimesS ?? [],
    shape,
    sequence,
    encoder,
    options,
  );
  return { sequence, frameTimesS };
}

async function encodeImage(
  decode: (signal?: AbortSignal) => Promise<RgbImage>,
  { views, k }: VisualShape,
  sequence: VisualSequence,
  encoder: VisionEncoder,
  { signal, onProgress, timed }: EncodeOptions,
): Promise<void> {
  const { main, low } = await timed("decode", async () => {
    const source = await decode(signal);
    const to = (image: RgbImage, { width, height }: Size) => resizeInSteps(image, width, height, { signal });
    const start = views.enlarged ? await to(source, views.enlarged) : source;
    const main = await to(start, views.main);
    return { main, low: await to(main, views.low as Size) };
  });
  onProgress("decode", 1);
  await timed("encode", async () => {
    sequence.fill("low", 0, 1, await encoder.rows([low], k, signal));
    sequence.fill("main", 0, 1, await encoder.rows([main], k, signal));
  });
  onProgress("encode", 1);
}

/** Frames stream in while those before them are encoded; two batches at most are in memory. */
async function encodeVideo(
  video: Video,
  times: readonly number[],
  { views, k }: VisualShape,
  sequence: VisualSequence,
  encoder: VisionEncoder,
  { signal, onProgress, timed }: EncodeOptions,
): Promise<number[]> {
  const used: number[] = [];
  const frames = video.frames(times, { size: views.main, signal });
  let encoding: Promise<void> = Promise.resolve();
  const encode = async (batch: RgbImage[], first: number) => {
    const rows = await timed("encode", () => encoder.rows(batch, k, signal));
    sequence.fill("main", first, batch.length, rows);
    onProgress("encode", first + batch.length);
  };
  try {
    let batch: RgbImage[] = [];
    for (;;) {
      const next = await timed("decode", () => frames.next());
      if (next.done) break;
      used.push(next.value.timeS);
      onProgress("decode", used.length);
      batch.push(next.value.image);
      if (batch.length === encoder.batchSize(views.main) || used.length === times.length) {
        await encoding;
        encoding = encode(batch, used.length - batch.length);
        encoding.catch(() => {}); // told by the next await
        batch = [];
      }
    }
    await encoding;
  } finally {
    await encoding.catch(() => {}); // its error, if any, is on its way already
    await frames.return();
  }
  if (used.length !== times.length) {
    const problem = `${used.length} of ${times.length} frames could be decoded`;
    throw new OryxError("media_malformed", problem, "the video is damaged: repair it or encode it again");
  }
  return used;
}
