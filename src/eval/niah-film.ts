import { createHash } from "node:crypto";
import { basename } from "node:path";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import type { Size } from "../core/size.ts";
import { hashInto } from "../files/hash.ts";
import type { RgbImage, Video } from "../media/media.ts";
import { resizeInSteps } from "../media/resize.ts";
import { openVideo } from "../media/video.ts";
import { drawNeedleScenes } from "../world/needle-film.ts";

/** The haystack: a film of so many frames, seen at whatever size. */
export interface Haystack {
  name: string;
  /** Tells it from others: its bytes, or its seed. */
  id: string;
  /** Of its frames, in pixels; hidden pictures are resized to it. */
  size: Size;
  /** Frames with ascending numbers, resized; those that show the same picture may be one object. */
  frames: (
    numbers: readonly number[],
    size: Size,
    signal?: AbortSignal,
  ) => AsyncGenerator<RgbImage, void, undefined>;
  close: () => Promise<void>;
}

/** A picture as the engine sees it in a film of a size: first brought to that size, then to what is encoded. */
export async function asFrame(
  picture: RgbImage,
  film: Size,
  size: Size,
  signal?: AbortSignal,
): Promise<RgbImage> {
  return resized(await resized(picture, film, signal), size, signal);
}

async function resized(picture: RgbImage, { width, height }: Size, signal?: AbortSignal): Promise<RgbImage> {
  if (picture.width === width && picture.height === height) return picture;
  return resizeInSteps(picture, width, height, { signal });
}

// ---------------------------------------------------------------------------------------------- generated

/** Ordinary scenes of the miniature world. */
export function worldHaystack(seed: number, frames: number, heldOut: boolean): Haystack {
  const scenes = drawNeedleScenes(seed, frames, heldOut);
  return {
    name: `world ${seed}`,
    id: `world ${seed} ${heldOut}`,
    size: scenes.size,
    async *frames(numbers, size, signal) {
      let strip: { from: number; pictures: RgbImage[] } | undefined;
      let last: { drawn: RgbImage; resized: RgbImage } | undefined;
      for (const number of numbers) {
        throwIfAborted(signal);
        const from = number - (number % STRIP);
        if (strip?.from !== from) {
          strip = { from, pictures: await scenes.frames(from, Math.min(frames, from + STRIP)) };
        }
        const drawn = strip.pictures[number - from] as RgbImage;
        if (last?.drawn !== drawn) last = { drawn, resized: await asFrame(drawn, scenes.size, size, signal) };
        yield last.resized;
      }
    },
    close: async () => {},
  };
}

/** Frames that are drawn at a time. */
const STRIP = 128;

// --------------------------------------------------------------------------------------------------- files

/** One file of several, and the times at which its frames are taken. */
interface Part {
  video: Video;
  /** Number of its first frame in the whole. */
  first: number;
  timesS: number[];
}

/**
 * Frames of video files, evenly over the length of all of them, one file behind the other. Where they have fewer
 * pictures than frames are asked for, pictures repeat.
 * @throws OryxError `media_*`
 */
export async function filmHaystack(
  paths: readonly string[],
  frames: number,
  signal?: AbortSignal,
): Promise<Haystack> {
  const videos: Video[] = [];
  const close = async () => {
    await Promise.all(videos.map((video) => video.close()));
  };
  try {
    for (const path of paths) videos.push(await openVideo(path, { signal }));
    const parts = partsOf(videos, frames);
    const { width, height } = videos[0] as Video;
    const film = { width, height };
    const name = paths.map((path) => basename(path)).join(", ");
    const id = `films ${await contentHash(paths, signal)} ${frames}`;
    return {
      name,
      id,
      size: film,
      frames: (numbers, size, s) => framesOf(parts, numbers, film, size, s),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function partsOf(videos: readonly Video[], frames: number): Part[] {
  const total = videos.reduce((sum, { durationS }) => sum + durationS, 0);
  if (!(total > 0)) throw new OryxError("media_empty", "the films have no length", "give longer ones");
  const parts = videos.map((video): Part => ({ video, first: 0, timesS: [] }));
  let [at, before] = [0, 0];
  for (let number = 0; number < frames; number++) {
    const timeS = (number * total) / frames;
    while (at + 1 < videos.length && timeS >= before + (videos[at] as Video).durationS) {
      before += (videos[at++] as Video).durationS;
    }
    const part = parts[at] as Part;
    if (part.timesS.length === 0) part.first = number;
    part.timesS.push(timeS - before);
  }
  return parts;
}

async function* framesOf(
  parts: readonly Part[],
  numbers: readonly number[],
  film: Size,
  size: Size,
  signal: AbortSignal | undefined,
): AsyncGenerator<RgbImage, void, undefined> {
  for (const { video, first, timesS } of parts) {
    const times = numbers.flatMap((number) => timesS[number - first] ?? []);
    const isAlike = video.width === film.width && video.height === film.height;
    let last: { seen: RgbImage; resized: RgbImage } | undefined;
    for await (const { image } of video.frames(times, { size: isAlike ? size : film, signal })) {
      if (last?.seen !== image) last = { seen: image, resized: await resized(image, size, signal) };
      yield last.resized;
    }
  }
}

async function contentHash(paths: readonly string[], signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) {
    await hashInto(hash, path, signal);
    hash.update("\0");
  }
  return hash.digest("hex").slice(0, 16);
}
