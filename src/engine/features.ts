import { bytesOf, type CacheKey, type Caching, cacheKey } from "./cache.ts";
import { type EncodedMedia, type EncodeOptions, encodeMedia, pictureCount } from "./encode.ts";
import { type VisionEncoder, VisualSequence } from "./encoder.ts";
import type { PlannedMedia } from "./media.ts";

/** What decides the rows of an image or video, and may find them again. */
export interface Identified {
  planned: PlannedMedia;
  /** Undefined where nothing is to be cached. */
  key: CacheKey | undefined;
}

/** Finds out under what the rows of planned media would be kept. @throws OryxError `aborted`, `media_*` */
export async function identify(
  planned: PlannedMedia,
  caching: Caching | undefined,
  signal?: AbortSignal,
): Promise<Identified> {
  const { opened, shape, plan } = planned;
  const model = await caching?.vision(signal);
  const content = model && (await opened.content?.digest(signal));
  if (model === undefined || content === undefined) return { planned, key: undefined };
  const { modality, k, views } = shape;
  const sizes = [views.enlarged, views.low, views.main].map((size) => size ?? null);
  const preprocessing = JSON.stringify({ modality, k, sizes, times: plan.frameTimesS ?? null });
  return { planned, key: await cacheKey("features", model, content, preprocessing) };
}

/** Rows of an image or video, and how they were come by. */
export interface Featured extends EncodedMedia {
  /** Whether they had been kept. */
  isReused: boolean;
  /** Under what they, and what follows from them, may be kept; undefined for what changed while it was looked at. */
  key: CacheKey | undefined;
}

/** The rows of an image or video: those that are kept, else decoded and encoded now, and kept. */
export async function features(
  { planned, key }: Identified,
  encoder: VisionEncoder,
  caching: Caching | undefined,
  options: EncodeOptions,
): Promise<Featured> {
  const { signal, onProgress, timed } = options;
  if (caching === undefined || key === undefined) {
    return { ...(await encodeMedia(planned, encoder, options)), isReused: false, key: undefined };
  }
  const kept = await timed("encode", () => keptFeatures(planned, key, encoder, caching, signal));
  if (kept !== undefined) {
    for (const stage of ["decode", "encode"] as const) onProgress(stage, pictureCount(planned));
    return { ...kept, isReused: true, key };
  }
  const encoded = await encodeMedia(planned, encoder, options);
  const isUnchanged = await timed("encode", async () => {
    // A file that was replaced meanwhile was perhaps not what was decoded.
    if (!(await planned.opened.content?.isUnchanged(signal))) return false;
    const times = Float64Array.from(encoded.frameTimesS);
    await caching.cache.write(key, [bytesOf(times), bytesOf(encoded.sequence.visual)], signal);
    return true;
  });
  return { ...encoded, isReused: false, key: isUnchanged ? key : undefined };
}

async function keptFeatures(
  planned: PlannedMedia,
  key: CacheKey,
  encoder: VisionEncoder,
  { cache }: Caching,
  signal: AbortSignal | undefined,
): Promise<EncodedMedia | undefined> {
  const sequence = new VisualSequence(planned.shape, pictureCount(planned), encoder.width);
  const times = new Float64Array(planned.plan.frameTimesS?.length ?? 0);
  if (!(await cache.read(key, [bytesOf(times), bytesOf(sequence.visual)], signal))) return undefined;
  return { sequence, frameTimesS: [...times] };
}
