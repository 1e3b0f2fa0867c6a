import type { MediaSource } from "../media/media.ts";
import type { Compression, Modality, Size } from "../model/visual.ts";
import type { SamplingOptions } from "./sampler.ts";

/** A picture of a film that comes as separate images; without a time, a second after the one before it. */
export type Frame =
  | MediaSource
  | Uint8Array
  | { source: MediaSource | Uint8Array; timeS?: number | undefined };

/** An image or video: a path, bytes, or a list of pictures with times, which counts as one video. */
export type MediaItem = MediaSource | Uint8Array | { frames: readonly Frame[]; name?: string | undefined };

/** How the frames of a video are chosen and compressed. */
export interface VisualOptions {
  /** Frames a second of video; default 1, the paper's. A list of pictures is taken as it is, without one. */
  fps?: number | undefined;
  /** Frames at most; a longer video is sampled uniformly. Default 64, the paper's; over 64 is a long video. */
  maxFrames?: number | undefined;
  /** Side of the patch regions that become one token; default 1 for images, 2 for videos, 4 for long videos. */
  compress?: Compression | undefined;
}

export interface GenerationOptions extends SamplingOptions {
  /** Tokens of the answer at most; default 1024. */
  maxTokens?: number | undefined;
  /** Texts that end the answer, and are left out of it. */
  stop?: readonly string[] | undefined;
}

/** Stages of a request that take time. */
export type Stage = "decode" | "encode" | "prefill" | "generate";

/** Work done of a stage, in frames (decode, encode) or tokens (prefill, generate). */
export interface Progress {
  stage: Stage;
  done: number;
  total: number;
}

export interface TurnRequest extends VisualOptions, GenerationOptions {
  question: string;
  /** Shown to the model before the question, in this order. */
  media?: readonly MediaItem[] | undefined;
  /** Ends the request within the step that is being computed. */
  signal?: AbortSignal | undefined;
  /** Told once, before anything is decoded or encoded. */
  onPlan?: ((plan: Plan) => void) | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

export interface AskRequest extends TurnRequest {
  /** The system prompt; default "You are a helpful assistant." */
  system?: string | undefined;
}

/** What will be done with one image or video. */
export interface ItemPlan {
  name: string;
  modality: Modality;
  k: Compression;
  /** Displayed size of the file, pixels. */
  source: Size;
  /** Size at which its pictures are encoded, pixels; an image has an overview beside it. */
  size: Size;
  overview?: Size | undefined;
  /** A video's length, and the times at which frames are taken, in seconds. */
  durationS?: number | undefined;
  frameTimesS?: readonly number[] | undefined;
  visualTokens: number;
}

/** What a request will take, known before anything is decoded. */
export interface Plan {
  items: readonly ItemPlan[];
  visualTokens: number;
  /** Tokens of this turn's prompt, visual ones included. */
  promptTokens: number;
  /** Tokens of the conversation so far. */
  cachedTokens: number;
  /** Tokens that the model may hold. */
  contextTokens: number;
  /** Tokens that the answer may have: as asked, or what the context leaves. */
  maxTokens: number;
}

/** Milliseconds, by the wall clock. */
export interface Timings {
  /** Reading, decoding and resizing media. */
  decodeMs: number;
  encodeMs: number;
  prefillMs: number;
  /** From the request to the first token. */
  firstTokenMs: number;
  totalMs: number;
  /** Tokens of the answer a second, after the first. */
  tokensPerSecond: number;
}

/** Why an answer ended: the model's own end, a stop text, or its greatest length. */
export type Finish = "end" | "stop" | "length";

export interface Answer {
  text: string;
  finish: Finish;
  /** Tokens generated. */
  tokens: number;
  plan: Plan;
  /** Times of the frames that were really used, in seconds, for each video in order. */
  frameTimesS: readonly (readonly number[])[];
  timings: Timings;
}

/** A piece of the answer's text; never half a character. */
export interface Piece {
  text: string;
}
