import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Random } from "../core/random.ts";
import type { Size } from "../core/size.ts";
import { decodeImage, probeImage } from "../media/image.ts";
import type { MediaSource, RgbImage, Video } from "../media/media.ts";
import { sampleTimes } from "../media/sampling.ts";
import { openVideo } from "../media/video.ts";
import { openVideoFile } from "../media/video-file.ts";
import type { ViewLimits } from "../model/views.ts";
import { PAPER, type VisualShape, visualShape } from "../model/visual.ts";
import type { ExamplePicture } from "./example.ts";
import { chooseFrames } from "./frames.ts";
import { type RecordMedia, resolveMedia, type Still } from "./records.ts";
import { frameView, imageViews } from "./visual.ts";

/** Where records' media lie, and how they are looked at. */
export interface RecordMediaOptions {
  /** Folder that paths count from. */
  root: string;
  /** Whether records may name files by absolute paths. */
  absolute: boolean;
  views: ViewLimits;
  /** Frames of a video at most. */
  frames: { video: number; video_long: number };
}

/** An image or video of a record, of which only headers have been read: what it costs is known before it is paid. */
export interface PlannedVisual {
  shape: VisualShape;
  /** Images, or frames. */
  count: number;
  load: () => Promise<ExamplePicture[]>;
}

/** What a record shows. */
export interface PlannedMedia {
  visuals: PlannedVisual[];
  /** Where the frames stand that the record's question is about. */
  slots: number[];
  /** Frees decoders, whether or not anything was loaded. */
  close: () => Promise<void>;
}

/**
 * Reads the headers of a record's media.
 * @param targets numbers of the frames that the record's question is about
 * @param random draws the places to which these are moved
 * @throws OryxError `sample_invalid` (a path outside the root, a range outside its pack), `media_*`
 */
export async function planMedia(
  media: RecordMedia | undefined,
  targets: readonly number[],
  random: Random,
  options: RecordMediaOptions,
): Promise<PlannedMedia> {
  if (media === undefined) return { visuals: [], slots: [], close: async () => {} };
  if ("film" in media) return planFilm(media.film, media.modality, targets, random, options);
  if (media.modality !== "image") return planStills(media.stills, media.modality, targets, random, options);
  const visuals: PlannedVisual[] = [];
  for (const still of media.stills) visuals.push(await planImage(still, options));
  return { visuals, slots: [], close: async () => {} };
}

async function planImage(still: Still, options: RecordMediaOptions): Promise<PlannedVisual> {
  const size = await probeImage(await sourceOf(still, options));
  const shape = visualShape(size, "image", options.views);
  const load = async () => imageViews(await decodeImage(await sourceOf(still, options)), shape);
  return { shape, count: 1, load };
}

async function planStills(
  stills: readonly Still[],
  modality: "video" | "video_long",
  targets: readonly number[],
  random: Random,
  options: RecordMediaOptions,
): Promise<PlannedMedia> {
  const { frames, slots } = chooseFrames(stills.length, options.frames[modality], targets, random);
  const first = await probeImage(await sourceOf(stills[frames[0]!]!, options));
  const shape = visualShape(first, modality, options.views);
  const load = async () => {
    const pictures: ExamplePicture[] = [];
    for (const [picture, frame] of frames.entries()) {
      const image = await decodeImage(await sourceOf(stills[frame]!, options));
      pictures.push(frameView(image, picture, first, shape));
    }
    return pictures;
  };
  return { visuals: [{ shape, count: frames.length, load }], slots, close: async () => {} };
}

async function planFilm(
  path: string,
  modality: "video" | "video_long",
  targets: readonly number[],
  random: Random,
  options: RecordMediaOptions,
): Promise<PlannedMedia> {
  const film = await openVideo(resolveMedia(options.root, path, options.absolute));
  try {
    const { durationS } = film;
    const times = sampleTimes({ durationS, fps: PAPER.fps, maxFrames: LIMITS.framesPerVideo });
    const { frames, slots } = chooseFrames(times.length, options.frames[modality], targets, random);
    const shape = visualShape(film, modality, options.views);
    const load = () => filmFrames(film, frames, times, shape.views.main);
    return { visuals: [{ shape, count: frames.length, load }], slots, close: () => film.close() };
  } catch (error) {
    await film.close();
    throw error;
  }
}

/** Frames are decoded in the order of the film, and come in the order in which they are shown. */
async function filmFrames(
  film: Video,
  frames: readonly number[],
  times: readonly number[],
  size: Size,
): Promise<ExamplePicture[]> {
  const inOrder = frames.toSorted((a, b) => a - b);
  const decoded = new Map<number, RgbImage>();
  for await (const { index, image } of film.frames(
    inOrder.map((i) => times[i]!),
    { size },
  )) {
    decoded.set(inOrder[index]!, image);
  }
  return frames.map((frame, picture) => ({ view: "main", picture, image: decoded.get(frame)! }));
}

async function sourceOf({ path, range }: Still, options: RecordMediaOptions): Promise<MediaSource> {
  const file = resolveMedia(options.root, path, options.absolute);
  return range === undefined ? file : { bytes: await packRange(file, range), name: nameOf(path, range) };
}

const nameOf = (path: string, { offset, length }: { offset: number; length: number }) =>
  `bytes ${offset} to ${offset + length} of ${path}`;

/** A range of a pack, checked against the pack's length before memory is taken for it. */
async function packRange(path: string, { offset, length }: NonNullable<Still["range"]>): Promise<Uint8Array> {
  const pack = await openVideoFile(path);
  try {
    if (offset + length > pack.byteLength) {
      const problem = `it wants ${nameOf(pack.name, { offset, length })}, which has ${pack.byteLength}`;
      throw new OryxError("sample_invalid", problem, "is it the right pack, and whole?");
    }
    return await pack.read(offset, length);
  } finally {
    await pack.close();
  }
}
