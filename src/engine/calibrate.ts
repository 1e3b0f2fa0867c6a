import { throwIfAborted } from "../core/errors.ts";
import { toRgb, type YuvImage } from "../media/colour.ts";
import type { RgbImage } from "../media/media.ts";
import { resizeInSteps } from "../media/resize.ts";
import { inSteps } from "../media/steps.ts";
import type { LanguageConfig } from "../model/config.ts";
import { layerElements } from "../model/cost.ts";
import { PATCH } from "../model/vit.ts";
import type { Decoder } from "./decoder.ts";
import type { VisionEncoder } from "./encoder.ts";
import type { LoadedModel } from "./load.ts";
import { fitLine, type Run, type Speed } from "./speed.ts";

/** Runs of one measurement at most, and seconds after which no other is begun. */
const RUNS = 3;
const ENOUGH_S = 0.3;

/** A probe that would make a whole measurement longer than this makes it a quarter as large. */
const LONG_S = 0.5;

/**
 * Measures how fast a model is on this machine: a second or two; with a large model, as long as a few small runs
 * take. Noise is encoded and tokens are read that nobody wrote; nothing of it is kept. What others ask of the model
 * waits meanwhile, since their work would be measured too.
 * @throws OryxError `aborted`, `runtime_failed`
 */
export function measureSpeed({ decoder, encoder }: LoadedModel, signal?: AbortSignal): Promise<Speed> {
  const alone = (decoder: Decoder) =>
    encoder.alone((encoder) => measureUndisturbed({ decoder, encoder }, signal), signal);
  return decoder.alone(alone, signal);
}

async function measureUndisturbed({ decoder, encoder }: LoadedModel, signal?: AbortSignal): Promise<Speed> {
  const encode = await measureEncoder(encoder, signal);
  const prefill = await measurePrefill(decoder, signal);
  return {
    encode: { perPatch: encode.each, perPair: encode.pair },
    prefill: { perToken: prefill.each, perPair: prefill.pair },
    perPixel: await measurePixels(signal),
  };
}

/** The same number of patches as several small pictures and as one large one. */
async function measureEncoder(encoder: VisionEncoder, signal: AbortSignal | undefined) {
  const small = 8 * PATCH;
  const run = (pictures: RgbImage[]) => secondsOf(() => encoder.rows(pictures, 2, signal), signal);
  const probe = await run([noise(small, small)]);
  const count = probe * 16 > LONG_S ? 4 : 16;
  const patches = 64 * count;
  const few = await run(Array.from({ length: count }, () => noise(small, small)));
  const side = small * Math.sqrt(count);
  const many = await run([noise(side, side)]);
  return fitLine({ met: 64, seconds: few / patches }, { met: patches, seconds: many / patches });
}

/** A short prompt and a long one; with a large model, whose long one would take too long, attention's share is counted. */
async function measurePrefill(decoder: Decoder, signal: AbortSignal | undefined) {
  const most = decoder.config.maxPositions;
  // A slot of its own for each: of a large model, one for long prompts takes memory that is then not used.
  const run = (tokens: number) =>
    decoder.withSlot(tokens, async (slot) => {
      const prompt = [{ ids: Array.from({ length: tokens }, () => 0) }];
      const read = () => decoder.prefill(slot, prompt, { signal }).finally(() => slot.truncate(0));
      return { met: tokens / 2, seconds: (await secondsOf(read, signal)) / tokens };
    });
  const probe = await run(Math.min(32, most));
  const short = Math.min(probe.seconds * 256 > LONG_S ? 64 : 256, most);
  const few = await run(short);
  const long = Math.min(LONG_PROMPT, most);
  if (few.seconds * long > 2 * LONG_S || long < 2 * short) return counted(few, decoder.config);
  return fitLine(few, await run(long));
}

const LONG_PROMPT = 2048;

/** Splits a run's time by the operations of matrices and of attention. */
function counted({ met, seconds }: Run, config: LanguageConfig): { each: number; pair: number } {
  const share = (2 * config.heads * config.headDim) / (layerElements(config) / config.layers);
  const each = seconds / (1 + share * met);
  return { each, pair: share * each };
}

/** A frame of film as decoders give it: to RGB, and to a size at which frames are encoded. */
async function measurePixels(signal: AbortSignal | undefined): Promise<number> {
  const [width, height] = [640, 360];
  const plane = (shift: number) => {
    const stride = width >> shift;
    return { stride, data: noiseBytes(stride * (height >> shift)) };
  };
  const film: YuvImage = {
    width,
    height,
    layout: "yuv",
    planes: [plane(0), plane(1), plane(1)],
    chromaShift: [1, 1],
    bitDepth: 8,
    matrix: "bt601",
    fullRange: false,
  };
  const frame = async () => resizeInSteps(await inSteps(toRgb(film), signal), 448, 256, { signal });
  return (await secondsOf(frame, signal)) / (width * height);
}

/** Seconds that some work takes: the least of a few runs, as whatever else the machine does makes it longer. */
async function secondsOf(work: () => Promise<unknown>, signal: AbortSignal | undefined): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  const start = performance.now();
  for (let run = 0; run < RUNS; run++) {
    throwIfAborted(signal);
    const from = performance.now();
    await work();
    const now = performance.now();
    least = Math.min(least, (now - from) / 1000);
    if ((now - start) / 1000 > ENOUGH_S) break;
  }
  return Math.max(least, 1e-9);
}

function noise(width: number, height: number): RgbImage {
  return { width, height, data: noiseBytes(3 * width * height) };
}

/** Bytes without a pattern: a plain picture might be computed faster than real ones. */
function noiseBytes(length: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state >>> 24;
  });
}
