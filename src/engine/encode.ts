import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Size } from "../core/size.ts";
import type { RgbImage, Video, VideoFrame } from "../media/media.ts";
import { resizeInSteps } from "../media/resize.ts";
import type { VisualShape } from "../model/visual.ts";
import { ahead } from "./ahead.ts";
import { type VisionEncoder, VisualSequence } from "./encoder.ts";
import type { PlannedMedia } from "./media.ts";
import type { Stage } from "./request.ts";

/** What encoding tells while it works. */
export interface EncodeOptions {
  signal?: AbortSignal | undefined;
  onProgress: (stage: Stage, pictures: number) => void;
  /** Adds the time that a piece of work took to its stage. */
  timed: <T>(stage: Stage, work: () => Promise<T>) => Promise<T>;
}

/** An image or video as visual tokens, with the times of the frames that were used, in seconds. */
export interface EncodedMedia {
  sequence: VisualSequence;
  frameTimesS: number[];
}

/** Pictures that a plan takes: an image's one, or a video's frames. */
export function pictureCount({ plan }: Pick<PlannedMedia, "plan">): number {
  return plan.frameTimesS?.length ?? 1;
}

/** Decodes and encodes what was planned. Whatever ends it, nothing of it runs on. */
export async function encodeMedia(
  planned: PlannedMedia,
  encoder: VisionEncoder,
  options: EncodeOptions,
): Promise<EncodedMedia> {
  const { opened, shape, plan } = planned;
  const sequence = new VisualSequence(shape, pictureCount(planned), encoder.width);
  sequence.mark(await encoder.marks());
  if (opened.kind === "image") {
    await encodeImage(opened.decode, shape, sequence, encoder, options);
    return { sequence, frameTimesS: [] };
  }
  const times = plan.frameTimesS ?? [];
  const frameTimesS = await encodeVideo(opened.video, times, shape, sequence, encoder, options);
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

/**
 * Frames are decoded and resized while those before them are encoded. Only those few are in memory that wait for
 * the encoder, so that the film's length does not matter. What stands still is encoded once.
 */
async function encodeVideo(
  video: Video,
  times: readonly number[],
  { views, k }: VisualShape,
  sequence: VisualSequence,
  encoder: VisionEncoder,
  { signal, onProgress, timed }: EncodeOptions,
): Promise<number[]> {
  const used: number[] = [];
  let decoded = 0;
  const onDecoded = () => onProgress("decode", ++decoded);
  const frames = told(video.frames(times, { size: views.main, signal }), timed, onDecoded);
  const shots = stills(ahead(frames, LIMITS.framesAhead));
  for await (const batch of batches(shots, encoder.batchSize(views.main))) {
    const pictures = batch.map(({ image }) => image);
    const rows = await timed("encode", () => encoder.rows(pictures, k, signal));
    const length = rows.length / batch.length;
    for (const [i, { timesS }] of batch.entries()) {
      const own = rows.subarray(i * length, (i + 1) * length);
      for (const timeS of timesS) {
        sequence.fill("main", used.length, 1, own);
        used.push(timeS);
      }
    }
    onProgress("encode", used.length);
  }
  if (used.length !== times.length) {
    const problem = `${used.length} of ${times.length} frames could be decoded`;
    throw new OryxError("media_malformed", problem, "the video is damaged: repair it or encode it again");
  }
  return used;
}

/** The frames, with the time that they take on the account of decoding, and each of them told. */
async function* told(
  frames: AsyncGenerator<VideoFrame, void, undefined>,
  timed: EncodeOptions["timed"],
  onFrame: () => void,
): AsyncGenerator<VideoFrame, void, undefined> {
  try {
    for (;;) {
      const next = await timed("decode", () => frames.next());
      if (next.done) return;
      onFrame();
      yield next.value;
    }
  } finally {
    await frames.return();
  }
}

/** Frames that follow one another and look the same: a slide, a screen that waits. */
interface Still {
  image: RgbImage;
  timesS: number[];
}

async function* stills(
  frames: AsyncGenerator<VideoFrame, void, undefined>,
): AsyncGenerator<Still, void, undefined> {
  let still: Still | undefined;
  for await (const { image, timeS } of frames) {
    if (still && looksLike(image, still.image)) still.timesS.push(timeS);
    else {
      if (still) yield still;
      still = { image, timesS: [timeS] };
    }
  }
  if (still) yield still;
}

/** Whether two frames of one film are equal in every pixel. */
const looksLike = ({ data }: RgbImage, other: RgbImage): boolean =>
  data.length === other.data.length && data.every((value, i) => value === other.data[i]);

/** Items in groups of `size`; the last one may be smaller. */
async function* batches<T>(
  items: AsyncGenerator<T, void, undefined>,
  size: number,
): AsyncGenerator<T[], void, undefined> {
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
