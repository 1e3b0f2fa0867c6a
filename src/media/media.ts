import type { Size } from "../core/size.ts";
/** Interleaved 8-bit RGB, rows from the top; `data.length` = 3 * width * height. */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array;
}

/** Where media comes from: a path, or bytes with an optional name for messages. */
export type MediaSource = string | { bytes: Uint8Array; name?: string | undefined };

/** One frame of a video. */
export interface VideoFrame {
  /** Place in the list of requested times. */
  index: number;
  /** Presentation time of the frame that was really used, in seconds from the start of the video. */
  timeS: number;
  image: RgbImage;
}

export interface FramesOptions {
  /** Resize every frame to this (Pillow bicubic) before it is yielded; absent: the displayed size. */
  size?: Size;
  signal?: AbortSignal | undefined;
}

/** Where the key frames of a film are, as far as it matters for the time that decoding takes. */
export interface VideoPace {
  framesPerSecond: number;
  /** Seconds between key frames, from which decoding has to start. */
  keyIntervalS: number;
}

/** An opened video: what its headers say, and its frames at chosen times. */
export interface Video {
  /** Displayed size in pixels, after rotation and pixel aspect. */
  readonly width: number;
  readonly height: number;
  /** Time of the end of the last frame, in seconds from the first frame. */
  readonly durationS: number;
  /** Times of all its frames, where they are few and were chosen by someone: a list of image files. */
  readonly timesS?: readonly number[];
  /** Codec as the field names it ("h264", "vp9", …) or "frames" for a list of image files. */
  readonly codec: string;
  /** What its index tells of the work of decoding, where there is one that is read here. */
  pace?(): Promise<VideoPace>;
  /** The frame on show at each time (times ascending, in seconds), streamed: the whole film is never in memory. */
  frames(timesS: readonly number[], options?: FramesOptions): AsyncGenerator<VideoFrame, void, undefined>;
  /** Frees file handles and decoders; a second call does nothing. */
  close(): Promise<void>;
}
