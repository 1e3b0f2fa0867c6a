import { OryxError, throwIfAborted } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Size } from "../core/size.ts";
import { decodeImage, probeImage } from "./image.ts";
import type { FramesOptions, MediaSource, RgbImage, Video, VideoFrame } from "./media.ts";
import { resizeInSteps } from "./resize.ts";
import { checkFrames } from "./video-request.ts";

/** A picture of a film that comes as separate image files. */
export interface TimedImage {
  source: MediaSource;
  /** When it comes on show, in seconds; default: one second after the picture before it, from 0. */
  timeS?: number;
}

/**
 * A list of image files as a video. Each picture is on show until the next one's time, the last for as long as
 * the one before it (a single one for a second). Times count from the first picture's.
 *
 * Only the first picture's header is read here, for its size, which all others are resized to; pictures are
 * decoded when they are asked for, one at a time.
 *
 * @throws OryxError `media_empty`: no pictures; `bad_option`: times that do not ascend, or more pictures than
 *   `LIMITS.framesPerVideo`; what {@link probeImage} throws for the first picture
 */
export async function videoFromFrames(frames: readonly TimedImage[]): Promise<Video> {
  const first = frames[0];
  if (!first) throw new OryxError("media_empty", "the list of frames is empty", "give at least one picture");
  if (frames.length > LIMITS.framesPerVideo) {
    throw new OryxError(
      "bad_option",
      `a video of ${frames.length} pictures was given; ${LIMITS.framesPerVideo} are allowed`,
      "give fewer",
    );
  }
  const starts = startTimes(frames);
  const { width, height } = await probeImage(first.source);
  return new FramesVideo(
    frames.map(({ source }) => source),
    starts,
    width,
    height,
  );
}

/** Times from the first picture's, checked. */
function startTimes(frames: readonly TimedImage[]): number[] {
  const times: number[] = [];
  for (const [i, { timeS }] of frames.entries()) {
    const before = times[i - 1];
    const time = timeS ?? (before === undefined ? 0 : before + 1);
    if (!Number.isFinite(time) || (before !== undefined && time <= before)) {
      throw new OryxError(
        "bad_option",
        `picture ${i} has the time ${time}`,
        "give ascending times in seconds",
      );
    }
    times.push(time);
  }
  return times.map((time) => time - times[0]!);
}

class FramesVideo implements Video {
  readonly width: number;
  readonly height: number;
  readonly durationS: number;
  readonly codec = "frames";
  readonly #sources: readonly MediaSource[];
  readonly timesS: readonly number[];
  #closed = false;

  constructor(sources: readonly MediaSource[], starts: readonly number[], width: number, height: number) {
    this.#sources = sources;
    this.timesS = starts;
    this.width = width;
    this.height = height;
    const last = starts.at(-1)!;
    this.durationS = last + (last - (starts.at(-2) ?? last - 1));
  }

  async *frames(
    timesS: readonly number[],
    options: FramesOptions = {},
  ): AsyncGenerator<VideoFrame, void, undefined> {
    checkFrames(timesS, options.size);
    let shown = -1;
    let image: RgbImage | undefined;
    for (const [index, atS] of timesS.entries()) {
      throwIfAborted(options.signal);
      if (this.#closed) throw new OryxError("closed", "the video was closed", "open it again");
      const number = Math.max(
        0,
        this.timesS.findLastIndex((startS) => startS <= atS + 1e-6),
      );
      if (!image || number !== shown) image = await this.#picture(number, options);
      shown = number;
      yield { index, timeS: this.timesS[number]!, image };
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async #picture(number: number, { size, signal }: FramesOptions): Promise<RgbImage> {
    const picture = await decodeImage(this.#sources[number]!, { signal });
    // One size for all first, so that a picture looks the same whatever `size` is asked for.
    const alike = await resized(picture, this, signal);
    return size ? resized(alike, size, signal) : alike;
  }
}

async function resized(
  image: RgbImage,
  { width, height }: Size,
  signal: AbortSignal | undefined,
): Promise<RgbImage> {
  if (image.width === width && image.height === height) return image;
  return resizeInSteps(image, width, height, { signal });
}
