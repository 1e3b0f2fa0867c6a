import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { OryxError } from "../core/errors.ts";
import type { Size } from "../core/size.ts";
import type { Decoder } from "../engine/decoder.ts";
import type { VisionEncoder } from "../engine/encoder.ts";
import { hashInto } from "../files/hash.ts";
import type { KvType } from "../model/oryx.ts";
import type { ViewLimits } from "../model/views.ts";
import { type Compression, type VisualShape, videoPath, visualShape } from "../model/visual.ts";
import type { OpenModel } from "../node/open.ts";
import { conversationPrompt, type PromptStyle, visualQuestion } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { stopIds } from "../weights/tokenizer.ts";

/** What the test needs of a loaded model. */
export interface NiahModel {
  name: string;
  /** SHA-256 of all that decides its answers. */
  hash: string;
  randomWeights: boolean;
  tokenizer: Tokenizer;
  style: PromptStyle;
  views: ViewLimits;
  decoder: Decoder;
  encoder: VisionEncoder;
  stopIds: ReadonlySet<number>;
  kv: KvType;
  /** Tokens that prompt and answer may take. */
  contextTokens: number;
}

/** A loaded folder as the test needs it. */
export async function niahModel(
  name: string,
  model: OpenModel,
  contextTokens: number | undefined,
  signal?: AbortSignal,
): Promise<NiahModel> {
  const { checkpoint, tokenizer, decoder, encoder, kv } = model;
  const { config } = checkpoint;
  const most = decoder.config.maxPositions;
  if (contextTokens !== undefined && contextTokens > most) {
    throw new OryxError("bad_option", `a context of ${contextTokens} tokens`, `give at most ${most}`);
  }
  return {
    name,
    hash: await modelHash(model, signal),
    randomWeights: config.randomWeights,
    tokenizer,
    style: config.family,
    views: config.vision.views,
    decoder,
    encoder,
    stopIds: stopIds(checkpoint, tokenizer),
    kv,
    contextTokens: contextTokens ?? most,
  };
}

async function modelHash({ checkpoint, kv }: OpenModel, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256").update(`${kv} ${JSON.stringify(checkpoint.config)}`);
  for (const path of [...[...checkpoint.files].sort(), join(checkpoint.dir, "tokenizer.json")]) {
    hash.update(`\0${basename(path)}\0`);
    await hashInto(hash, path, signal);
  }
  return hash.digest("hex");
}

/** How the engine would look at so many frames. */
export function shapeOf(
  size: Size,
  frames: number,
  compress: Compression | undefined,
  views: ViewLimits,
): VisualShape {
  return visualShape(size, videoPath(frames), views, compress);
}

/** A question's tokens on both sides of its video; all of them in front where it has none. */
export interface Prompt {
  head: number[];
  tail: number[];
}

/** The question in the words in which the engine asks it. @param seen the frames and how they are looked at */
export function promptOf(
  { tokenizer, style }: NiahModel,
  question: string,
  seen?: { shape: VisualShape; frames: number },
): Prompt {
  const shown = seen === undefined ? [] : [{ modality: seen.shape.modality, pictures: seen.frames }];
  const prompt = conversationPrompt(tokenizer, style, [visualQuestion(shown, question)]);
  const place = seen === undefined ? prompt.length : prompt.findIndex((token) => typeof token === "object");
  const ids = (part: typeof prompt) => part.filter((token) => typeof token === "number");
  return { head: ids(prompt.slice(0, place)), tail: ids(prompt.slice(place + 1)) };
}
