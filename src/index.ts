/** Oryx for Node: the public surface of the package. */
export { ERROR_CODES, type ErrorCode, OryxError } from "./core/errors.ts";
export type { AnswerStream } from "./engine/answer.ts";
export type { Conversation } from "./engine/conversation.ts";
export type { Engine } from "./engine/engine.ts";
export type {
  Answer,
  AskRequest,
  Finish,
  Frame,
  GenerationOptions,
  ItemPlan,
  MediaItem,
  Piece,
  Plan,
  Progress,
  Stage,
  Timings,
  TurnRequest,
  VisualOptions,
} from "./engine/request.ts";
export type { SamplingOptions } from "./engine/sampler.ts";
export type { MediaSource } from "./media/media.ts";
export type { KvType } from "./model/oryx.ts";
export type { Compression, Modality, Size } from "./model/visual.ts";
export { type LoadOptions, Oryx } from "./node/oryx.ts";
export type { Device } from "./runtime/session.ts";
export type { Checkpoint } from "./weights/checkpoint.ts";
