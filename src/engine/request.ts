import type { Size } from "../core/size.ts";
import type { MediaSource } from "../media/media.ts";
import type { Compression, Modality } from "../model/visual.ts";
import type { SamplingOptions } from "./sampler.ts";
import type { Seconds } from "./speed.ts";
import type { Asked, TaskResult } from "./task.ts";

/** A picture of a film that comes as separate images; without a time, a second after the one before it. */
export type Frame =
  | MediaSource
  | Uint8Array
  | { source: MediaSource | Uint8Array; timeS?: number | undefined };

/** An image or video: a path, bytes, or a list of pictures with times, which counts as one video. */
export type MediaItem = MediaSource | Uint8Array | { frames: readonly Frame[]; name?: string | undefined };

/** How the frames of a video are chosen and compressed. What a request gives here, no budget changes but `maxFrames`. */
export interface VisualOptions {
  /** Frames a second of video; default 1, the paper's. A list of pictures is taken as it is, without one. */
  fps?: number | undefined;
  /**
   * Frames at most; a longer video is sampled uniformly. Default 64, the paper's, or 256 for the tasks "summarize"
   * and "steps"; over 64 is a long video.
   */
  maxFrames?: number | undefined;
  /** Side of the patch regions that become one token; default 1 for images, 2 for videos, 4 for long videos. */
  compress?: Compression | undefined;
  /** Pixels of an encoded frame or image at most, within what the model was made for; default: the most of that. */
  frameArea?: number | undefined;
  /** The stretch of every video that is looked at, in seconds; default: all of it. */
  part?: { fromS: number; toS: number } | undefined;
}

/** What a request may take. Frames, compression and size are chosen so that it does, see {@link Plan.reasons}. */
export interface BudgetOptions {
  /** Tokens of the prompt, text and visuals; default: what the context leaves beside the answer. */
  budgetTokens?: number | undefined;
  /**
   * Seconds until the first token, by this machine's speed, which is measured when this is first asked for: for a second
   * or two, while other requests wait.
   */
  budgetSeconds?: number | undefined;
}

/** How long the answer may become, and how its tokens are chosen. */
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

/** One question of a conversation, with what it shows. */
export interface TurnRequest extends Asked, VisualOptions, BudgetOptions, GenerationOptions {
  /** Shown to the model before the question, in this order. */
  media?: readonly MediaItem[] | undefined;
  /** Ends the request within the step that is being computed. */
  signal?: AbortSignal | undefined;
  /** Told once, before anything is decoded or encoded. */
  onPlan?: ((plan: Plan) => void) | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** What a conversation begins with. */
export interface ChatOptions {
  /** The system prompt; default "You are a helpful assistant." */
  system?: string | undefined;
}

/** A question in a conversation of its own. */
export interface AskRequest extends TurnRequest, ChatOptions {}

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
  /** A video's length in seconds, the frames that are taken of each, and the times at which they are. */
  durationS?: number | undefined;
  fps?: number | undefined;
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
  /** Whether a budget, or else the context, made anything less than the paper's rules and the request would have it. */
  isReduced: boolean;
  /** Why it is as it is, in sentences. */
  reasons: readonly string[];
  /** What it takes until the first token if nothing is cached, an estimate; where this machine's speed is known. */
  seconds?: Seconds | undefined;
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

/** What a request found done by an earlier one, of this process or another. */
export interface Reused {
  /** Pictures that were neither decoded nor encoded. */
  pictures: number;
  /** Tokens of the prompt that were not fed to the model. */
  promptTokens: number;
}

/** What the model said, and what it took. */
export interface Answer {
  text: string;
  /** What the text says, as the request's task asks for. */
  result?: TaskResult | undefined;
  finish: Finish;
  /** Tokens generated. */
  tokens: number;
  plan: Plan;
  /** Times of the frames that were really used, in seconds, for each video in order. */
  frameTimesS: readonly (readonly number[])[];
  reused: Reused;
  timings: Timings;
}

/** A piece of the answer's text; never half a character. */
export interface Piece {
  text: string;
}
