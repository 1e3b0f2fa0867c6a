import { OryxError, throwIfAborted } from "../core/errors.ts";
import type { Size } from "../core/size.ts";
import type { VisionEncoder } from "../engine/encoder.ts";
import type { Stretch } from "../engine/sequence.ts";
import type { RgbImage } from "../media/media.ts";
import { MARKS } from "../model/oryx.ts";
import { type VisualShape, viewTokens } from "../model/visual.ts";
import type { Shown } from "./niah-layout.ts";

/**
 * Frames as a language model sees them, encoded once and put together in any order: rows f32 [frames, tokens, width].
 * A frame's rows end with the mark that follows it, so that neighbours of the haystack are one stretch of memory.
 */
export class FramePool {
  readonly shape: VisualShape;
  /** Rows of one frame and its mark. */
  readonly tokens: number;
  readonly #width: number;
  readonly #rows: Float32Array;
  /** Where in the pool a frame of the haystack is. */
  readonly #places: ReadonlyMap<number, number>;

  /** @param rows of the frames of the haystack with these numbers, in order */
  constructor(shape: VisualShape, width: number, numbers: readonly number[], rows: Float32Array) {
    this.shape = shape;
    this.tokens = tokensPerFrame(shape);
    this.#width = width;
    this.#rows = rows;
    this.#places = new Map(numbers.map((number, place) => [number, place]));
  }

  /** Frames as stretches of a sequence; neighbours in the pool are one, and none is copied. */
  stretches(shown: readonly Shown[], pictures: readonly Float32Array[]): Stretch[] {
    const all: Stretch[] = [];
    for (let at = 0; at < shown.length; ) {
      const frame = shown[at] as Shown;
      if ("picture" in frame) {
        all.push({ visual: pictures[frame.picture] as Float32Array, count: this.tokens });
        at++;
        continue;
      }
      const place = this.#place(frame);
      let count = 1;
      while (at + count < shown.length && this.#isAt(shown[at + count] as Shown, place + count)) count++;
      const length = this.tokens * this.#width;
      const visual = this.#rows.subarray(place * length, (place + count) * length);
      all.push({ visual, count: count * this.tokens });
      at += count;
    }
    return all;
  }

  #isAt(shown: Shown, place: number): boolean {
    return "hay" in shown && this.#places.get(shown.hay) === place;
  }

  #place({ hay }: { hay: number }): number {
    const place = this.#places.get(hay);
    if (place === undefined) throw new RangeError(`frame ${hay} of the haystack was not encoded`);
    return place;
  }
}

/** Rows of one frame and the mark behind it. */
export const tokensPerFrame = ({ views, k }: VisualShape): number => viewTokens(views.main, k) + 1;

/** Bytes of a pool. */
export const poolBytes = (shape: VisualShape, frames: number, width: number): number =>
  4 * frames * tokensPerFrame(shape) * width;

/** A row of the marks: what begins and ends a video, or follows a frame. */
export async function markRow(encoder: VisionEncoder, mark: (typeof MARKS)[number]): Promise<Float32Array> {
  const row = MARKS.indexOf(mark);
  return (await encoder.marks()).subarray(row * encoder.width, (row + 1) * encoder.width);
}

export interface EncodeFramesOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number) => void) | undefined;
}

/** A source of the frames with some numbers, resized to what is encoded. */
export type Frames = (numbers: readonly number[], size: Size) => AsyncIterable<RgbImage>;

/** Encodes frames of a haystack, each once. Those that are one object, one after the other, are encoded together. */
export async function encodePool(
  encoder: VisionEncoder,
  shape: VisualShape,
  frames: Frames,
  numbers: readonly number[],
  { signal, onProgress }: EncodeFramesOptions = {},
): Promise<FramePool> {
  const rows = await encodeFrames(encoder, shape, frames(numbers, shape.views.main), numbers.length, {
    signal,
    onProgress,
  });
  return new FramePool(shape, encoder.width, numbers, rows);
}

/** Rows of frames of one size, each followed by its mark. */
export async function encodeFrames(
  encoder: VisionEncoder,
  shape: VisualShape,
  frames: AsyncIterable<RgbImage> | Iterable<RgbImage>,
  count: number,
  { signal, onProgress }: EncodeFramesOptions = {},
): Promise<Float32Array> {
  const length = tokensPerFrame(shape) * encoder.width;
  const all = new Float32Array(count * length);
  const sep = await markRow(encoder, "sep");
  let done = 0;
  /** Pictures to encode, and how many frames show each. */
  let batch: { picture: RgbImage; times: number }[] = [];
  const flush = async () => {
    throwIfAborted(signal);
    if (batch.length === 0) return;
    const pictures = batch.map(({ picture }) => picture);
    const rows = await encoder.rows(pictures, shape.k, signal);
    const each = length - encoder.width;
    for (const [i, { times }] of batch.entries()) {
      for (let n = 0; n < times; n++, done++) {
        all.set(rows.subarray(i * each, (i + 1) * each), done * length);
        all.set(sep, done * length + each);
      }
    }
    batch = [];
    onProgress?.(done);
  };
  for await (const picture of frames) {
    const last = batch.at(-1);
    if (last?.picture === picture) last.times++;
    else {
      if (batch.length === encoder.batchSize(shape.views.main)) await flush();
      batch.push({ picture, times: 1 });
    }
  }
  await flush();
  if (done !== count) {
    const problem = `${done} of ${count} frames could be decoded`;
    throw new OryxError("media_malformed", problem, "the video is damaged: repair it or encode it again");
  }
  return all;
}
