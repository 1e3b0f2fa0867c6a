import type { TensorData } from "../core/tensor.ts";
import type { Decoder } from "../engine/decoder.ts";
import { encodeMedia } from "../engine/encode.ts";
import type { VisionEncoder } from "../engine/encoder.ts";
import { type OpenedMedia, type PlannedMedia, planMedia } from "../engine/media.ts";
import { Sampler } from "../engine/sampler.ts";
import { type Stretch, sequenceLength } from "../engine/sequence.ts";
import { DEFAULT_COMPRESSION, type Modality, PAPER, visualShape } from "../model/visual.ts";
import { openMedia } from "../node/media.ts";
import { conversationPrompt, type PromptStyle, type PromptToken, userMessage } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { loadFloat32 } from "../weights/files.ts";
import { type GoldenCase, invalid, VISUAL_ID } from "./golden.ts";
import type { ObservedPictures, ObservingRuntime } from "./observe.ts";
import { type Check, checkCount, checkStage, checkTokens } from "./report.ts";
import { PICTURE_STAGES, type PictureStage, StageSample, stageName, type View } from "./stages.ts";

/** A loaded model whose vision can be watched. */
export interface VerifiedModel {
  decoder: Decoder;
  encoder: VisionEncoder;
  runtime: ObservingRuntime;
  tokenizer: Tokenizer;
  style: PromptStyle;
  /** Tokens that end an answer. */
  stopIds: ReadonlySet<number>;
}

export interface RunOptions {
  /** Also generate in small chunks and without a cache. */
  thorough: boolean;
  signal?: AbortSignal | undefined;
}

/** Chunks of the thorough check: small and odd, so that their borders fall everywhere. */
const CHUNK_TOKENS = 7;

/** Computes one case and compares all that the reference tells of it. */
export async function runCase(
  model: VerifiedModel,
  golden: GoldenCase,
  options: RunOptions,
): Promise<Check[]> {
  const samples = new Map(
    golden.stages.map(({ name, stride, kept }) => [name, new StageSample(stride, kept.shape[0] as number)]),
  );
  const { prompt, sequence } = await readCase(model, golden, samples, options.signal);
  const inputIds = prompt.map((t) => (typeof t === "number" ? t : VISUAL_ID));
  const generation = { model, sequence, count: golden.greedy.length, signal: options.signal };
  const { logits, greedy } = await generate(generation);
  samples.get("logits_last")?.push([logits.length], (i) => logits[i] as number);

  const checks = [
    checkTokens(golden.name, "input_ids", inputIds, golden.inputIds),
    checkCount(golden.name, "sequence_length", sequenceLength(sequence), golden.sequenceLength),
  ];
  for (const stage of golden.stages) {
    const expected = await loadFloat32(stage.kept);
    checks.push(checkStage(golden.name, stage, samples.get(stage.name) as StageSample, expected));
  }
  checks.push(checkTokens(golden.name, "greedy", greedy, golden.greedy));
  if (options.thorough) {
    const chunked = await generate({ ...generation, chunkTokens: CHUNK_TOKENS });
    checks.push(checkTokens(golden.name, "greedy_chunked", chunked.greedy, greedy));
    checks.push(checkTokens(golden.name, "greedy_uncached", await generateUncached(generation), greedy));
  }
  return checks;
}

/** The case's prompt, and the same with its visuals encoded in their places. */
export async function readCase(
  model: VerifiedModel,
  golden: GoldenCase,
  samples: ReadonlyMap<string, StageSample>,
  signal: AbortSignal | undefined,
): Promise<{ prompt: PromptToken[]; sequence: Stretch[] }> {
  const visuals = await encodeVisuals(model, golden, samples, signal);
  const prompt = promptOf(model, golden, visuals.length);
  const sequence = prompt.map(
    (t): Stretch => (typeof t === "number" ? { ids: [t] } : (visuals[t.visual] as Stretch)),
  );
  return { prompt, sequence };
}

/** The prompt as the reference made it: visuals first, then the question as it is. */
function promptOf(
  { tokenizer, style }: VerifiedModel,
  { prompt }: GoldenCase,
  visuals: number,
): PromptToken[] {
  const parts = Array.from({ length: visuals }, (_, visual) => ({ visual }));
  return conversationPrompt(tokenizer, style, [userMessage([...parts, { text: prompt }])]);
}

async function encodeVisuals(
  model: VerifiedModel,
  { name, modality, media }: GoldenCase,
  samples: ReadonlyMap<string, StageSample>,
  signal: AbortSignal | undefined,
): Promise<{ visual: Float32Array; count: number }[]> {
  if (modality === "text") return [];
  const visuals: { visual: Float32Array; count: number }[] = [];
  const items = modality === "image" ? media : [await videoItem(media)];
  for (const item of items) {
    const opened = await openMedia(item, signal);
    try {
      if ((opened.kind === "image") !== (modality === "image")) {
        throw invalid(`case ${name} is ${modality}, and its medium ${opened.name} is ${opened.kind}`);
      }
      let view: View = "low";
      model.runtime.observe = (pictures) => {
        samplePictures(pictures, samples, modality === "image" ? view : undefined);
        view = "high"; // the engine encodes an image's overview first
      };
      const timed = <T>(_: unknown, work: () => Promise<T>) => work();
      const options = { signal, onProgress: () => {}, timed };
      const planned = planCase(opened, modality, media.length);
      const { sequence } = await encodeMedia(planned, model.encoder, options);
      const { visual, count } = sequence;
      samples.get("visual_tokens")?.push([count, visual.length / count], (i) => visual[i] as number);
      visuals.push({ visual, count });
    } finally {
      if (opened.kind === "video") await opened.video.close();
    }
  }
  return visuals;
}

/** A video file as it is, or the frames of a video. */
async function videoItem(media: readonly string[]) {
  const [only] = media;
  if (media.length === 1 && only !== undefined) {
    const opened = await openMedia(only);
    if (opened.kind === "video") {
      await opened.video.close();
      return only;
    }
  }
  return { frames: media.map((source) => ({ source })) };
}

/** A plan for the path that the case names, whatever path the number of frames would suggest. */
function planCase(opened: OpenedMedia, modality: Modality, files: number): PlannedMedia {
  const source = opened.kind === "image" ? opened.size : opened.video;
  const k = DEFAULT_COMPRESSION[modality];
  const maxFrames = Math.max(files, FRAMES[modality]);
  const { plan } = planMedia(opened, { compress: k, maxFrames });
  return { opened, plan: { ...plan, modality }, shape: visualShape(source, modality) };
}

/** Frames that are taken of a video file, the paper's; of a list, all are. */
const FRAMES: Readonly<Record<Modality, number>> = {
  image: 1,
  video: PAPER.videoFrames,
  video_long: PAPER.longFrames,
};

/** Keeps what the reference kept of pictures that were just encoded. */
function samplePictures(
  pictures: ObservedPictures,
  samples: ReadonlyMap<string, StageSample>,
  view: View | undefined,
): void {
  for (const stage of PICTURE_STAGES) {
    const sample = samples.get(stageName(stage, view));
    if (sample === undefined) continue;
    const { shape, at } = STAGE_TENSORS[stage](pictures);
    sample.push(shape, at);
  }
}

interface Readable {
  shape: readonly number[];
  at: (i: number) => number;
}

const STAGE_TENSORS: Readonly<Record<PictureStage, (pictures: ObservedPictures) => Readable>> = {
  pixels: ({ pixels }) => planar(pixels),
  vit: ({ vit }) => asIs(vit),
  compressed: ({ compressed }) => asIs(compressed),
};

const asIs = ({ shape, data }: TensorData): Readable => ({ shape, at: (i) => data[i] as number });

/** Pixels [n, h, w, 3] read as [n, 3, h, w], the reference's order. */
function planar({ shape, data }: TensorData): Readable {
  const [n, height, width] = shape as [number, number, number];
  const area = height * width;
  const at = (i: number) => {
    const plane = Math.floor(i / area);
    const picture = Math.floor(plane / 3);
    return data[(picture * area + (i % area)) * 3 + (plane % 3)] as number;
  };
  return { shape: [n, 3, height, width], at };
}

interface Generation {
  model: VerifiedModel;
  sequence: readonly Stretch[];
  /** Tokens to generate, if none of them ends the answer. */
  count: number;
  chunkTokens?: number;
  signal?: AbortSignal | undefined;
}

/** Generates greedily over a cache. @returns the logits [vocabulary] behind the sequence, and the tokens */
function generate(generation: Generation): Promise<{ logits: Float32Array; greedy: number[] }> {
  const { model, sequence, count, signal } = generation;
  const { decoder, stopIds } = model;
  const sampler = new Sampler();
  const { chunkTokens } = generation;
  return decoder.withSlot(sequenceLength(sequence) + count, async (slot) => {
    const first = await decoder.prefill(slot, sequence, {
      signal,
      ...(chunkTokens !== undefined && { chunkTokens }),
    });
    const greedy: number[] = [];
    for (let logits = first; greedy.length < count; ) {
      const id = sampler.next(logits);
      greedy.push(id);
      if (stopIds.has(id) || greedy.length === count) break;
      logits = await decoder.next(slot, id, signal);
    }
    return { logits: first, greedy };
  });
}

/** The same without a cache: each step sees the whole sequence anew. */
function generateUncached({ model, sequence, count, signal }: Generation): Promise<number[]> {
  const { decoder, stopIds } = model;
  const sampler = new Sampler();
  return decoder.withSlot(sequenceLength(sequence) + count, async (slot) => {
    const greedy: number[] = [];
    while (greedy.length < count && !stopIds.has(greedy.at(-1) ?? -1)) {
      slot.truncate(0);
      greedy.push(sampler.next(await decoder.prefill(slot, [...sequence, { ids: greedy }], { signal })));
    }
    return greedy;
  });
}
