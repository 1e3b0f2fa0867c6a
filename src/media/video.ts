import { OryxError, throwIfAborted } from "../core/errors.ts";
import type { Size } from "../core/size.ts";
import { toRgb } from "./colour.ts";
import type { FramesOptions, MediaSource, RgbImage, Video, VideoFrame, VideoPace } from "./media.ts";
import { resizeInSteps } from "./resize.ts";
import { inSteps, type Steps } from "./steps.ts";
import { type Container, containerOf } from "./video-container.ts";
import { decodeShots } from "./video-decode.ts";
import type { DecodedPicture, VideoDecoder, VideoDecoderFactory } from "./video-decoder.ts";
import { openTrack, type Shot, type VideoTrack } from "./video-demux.ts";
import { openWithFfmpeg } from "./video-ffmpeg.ts";
import { openVideoFile, type VideoFile } from "./video-file.ts";
import { nodeAvDecoder } from "./video-node-av.ts";
import { orient } from "./video-orient.ts";
import { checkFrames } from "./video-request.ts";

export interface OpenVideoOptions {
  signal?: AbortSignal | undefined;
  /** Decodes H.264, H.265, VP8, VP9 and AV1; default: FFmpeg's libraries in node-av, which carry GPL code. */
  decoder?: VideoDecoderFactory;
}

/**
 * Opens a film: mp4, mov, webm or mkv with H.264, H.265, VP8, VP9 or AV1. Other containers and codecs work where
 * a system `ffmpeg` is on the PATH.
 *
 * Only headers and the index are read. Times count from the first frame shown, whatever the container's own clock
 * says; where an edit list trims the start, from the frame on show there. Rotation and pixel aspect are applied.
 * Colour follows the pictures' own tags, then the container's, and is else BT.601 in limited range, as in swscale.
 *
 * Times that show the same frame share one image object: copy it before writing into it.
 *
 * A film that is cut off gives its frames up to there and then an error. Flipped bits are noticed in H.264 and AV1
 * mostly; H.265, VP8 and VP9 have no checksums, so there they can pass as other pictures.
 *
 * @throws OryxError `media_missing`, `media_unreadable`, `media_empty`, `media_unsupported`, `media_malformed`,
 *   `media_too_large`, `media_no_video`, `media_no_decoder`, `aborted`
 */
export async function openVideo(source: MediaSource, options: OpenVideoOptions = {}): Promise<Video> {
  throwIfAborted(options.signal);
  const file = await openVideoFile(source);
  try {
    const container = await knownContainer(file);
    const track = container === "foreign" ? undefined : await openTrack(file, container);
    throwIfAborted(options.signal);
    if (track) return new DemuxedVideo(file, track, options.decoder ?? nodeAvDecoder);
    const video = await openWithFfmpeg(source, file.name, container, options.signal);
    await file.close();
    return video;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function knownContainer(file: VideoFile): Promise<Container> {
  const container = await containerOf(file);
  if (container) return container;
  throw new OryxError(
    "media_unsupported",
    `${file.name} is no image or video file that is known here`,
    "give JPEG, PNG, WebP, GIF, AVIF, mp4, mov, webm or mkv; a file's content counts, not its name",
  );
}

class DemuxedVideo implements Video {
  readonly width: number;
  readonly height: number;
  readonly durationS: number;
  readonly codec: string;
  readonly #file: VideoFile;
  readonly #track: VideoTrack;
  readonly #makeDecoder: VideoDecoderFactory;
  /** Decoders of generators that have not ended, which close() has to end for them. */
  readonly #decoders = new Set<VideoDecoder>();
  #closed = false;

  constructor(file: VideoFile, track: VideoTrack, makeDecoder: VideoDecoderFactory) {
    this.width = track.header.width;
    this.height = track.header.height;
    this.durationS = track.header.durationS;
    this.codec = track.header.config.codec;
    this.#file = file;
    this.#track = track;
    this.#makeDecoder = makeDecoder;
  }

  pace(): Promise<VideoPace> {
    this.#requireOpen();
    return this.#track.pace();
  }

  async *frames(
    timesS: readonly number[],
    { size, signal }: FramesOptions = {},
  ): AsyncGenerator<VideoFrame, void, undefined> {
    checkFrames(timesS, size);
    if (timesS.length === 0) return;
    const shots = await this.#plan(timesS, signal);
    this.#requireOpen();
    const decoder = await this.#makeDecoder(this.#track.header.config);
    this.#decoders.add(decoder);
    const pictures = decodeShots(this.#track, decoder, distinct(shots), signal);
    try {
      let image: RgbImage | undefined;
      for (const [index, shot] of shots.entries()) {
        throwIfAborted(signal);
        this.#requireOpen();
        if (!image || shot.id !== shots[index - 1]?.id) {
          const { value } = await pictures.next();
          image = await this.#render(value!, size, signal);
        }
        yield { index, timeS: shot.timestampS - this.#track.startS, image };
      }
    } catch (error) {
      this.#requireOpen(); // close() pulls the file away; what fails then is no fault of the film
      throw error;
    } finally {
      await decoder.close();
      this.#decoders.delete(decoder);
    }
  }

  async #plan(timesS: readonly number[], signal: AbortSignal | undefined): Promise<Shot[]> {
    const shots: Shot[] = [];
    for (const timeS of timesS) {
      throwIfAborted(signal);
      this.#requireOpen();
      const shot = this.#track.shotAt(Math.max(0, timeS));
      shots.push(
        await shot.catch((error: unknown) => {
          this.#requireOpen();
          throw error;
        }),
      );
    }
    return shots;
  }

  /** Colour, orientation, size: in this order, as the reference does. */
  async #render(
    picture: DecodedPicture,
    size: Size | undefined,
    signal: AbortSignal | undefined,
  ): Promise<RgbImage> {
    const { width, height } = size ?? this;
    const rgb = await inSteps(this.#colours(picture), signal);
    const upright = await inSteps(orient(rgb, this.#track.header.orientation), signal);
    if (upright.width === width && upright.height === height) return upright;
    return resizeInSteps(upright, width, height, { signal });
  }

  /** Looks again after every pause: closing the video frees the decoder's memory, and the picture lies in it. */
  *#colours({ image }: DecodedPicture): Steps<RgbImage> {
    const steps = toRgb(image);
    for (;;) {
      this.#requireOpen();
      const step = steps.next();
      if (step.done) return step.value;
      yield;
    }
  }

  #requireOpen(): void {
    if (this.#closed) throw new OryxError("closed", "the video was closed", "open it again");
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#decoders].map((decoder) => decoder.close()));
    this.#track.close();
    await this.#file.close();
  }
}

/** Shots without repeats: times that show the same frame share it. */
function distinct(shots: readonly Shot[]): Shot[] {
  return shots.filter((shot, i) => shot.id !== shots[i - 1]?.id);
}
