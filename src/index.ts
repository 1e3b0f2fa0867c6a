/** Oryx for Node: the public surface of the package. */
export { ERROR_CODES, type ErrorCode, OryxError } from "./core/errors.ts";
export type { Size } from "./core/size.ts";
export type { AnswerStream } from "./engine/answer.ts";
export type { Conversation } from "./engine/conversation.ts";
export type { Engine } from "./engine/engine.ts";
export type { Likelihood, Likelihoods } from "./engine/likelihood.ts";
export type {
  Answer,
  AskRequest,
  BudgetOptions,
  ChatOptions,
  Finish,
  Frame,
  GenerationOptions,
  ItemPlan,
  MediaItem,
  Piece,
  Plan,
  Progress,
  Reused,
  Stage,
  Timings,
  TurnRequest,
  VisualOptions,
} from "./engine/request.ts";
export type { SamplingOptions } from "./engine/sampler.ts";
export type { Seconds } from "./engine/speed.ts";
export type { Asked, Task, TaskResult } from "./engine/task.ts";
export type { MediaSource } from "./media/media.ts";
export type { KvType } from "./model/oryx.ts";
export type { Compression, Modality } from "./model/visual.ts";
export type { CacheOptions } from "./node/caching.ts";
export { type LoadOptions, Oryx } from "./node/oryx.ts";
export type { Device } from "./runtime/session.ts";
export type { Checkpoint } from "./weights/checkpoint.ts";
