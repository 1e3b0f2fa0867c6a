import type { ViewLimits } from "../model/views.ts";
import type { PromptStyle } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Decoder } from "./decoder.ts";
import type { VisionEncoder } from "./encoder.ts";
import type { KvCache } from "./kv.ts";
import type { OpenMedia } from "./media.ts";
import type { SamplingOptions } from "./sampler.ts";

/** What an engine is put together from; each platform brings its own. */
export interface EngineParts {
  decoder: Decoder;
  encoder: VisionEncoder;
  cache: KvCache;
  /** How large the model wants its pictures. */
  views: ViewLimits;
  tokenizer: Tokenizer;
  style: PromptStyle;
  /** Tokens that end an answer. */
  stopIds: ReadonlySet<number>;
  openMedia: OpenMedia;
  /** Releases the sessions; runs in flight end first. A second call does nothing. */
  close: () => Promise<void>;
  /** A request's sampling options over the model's defaults. */
  sampling: (request: SamplingOptions) => SamplingOptions;
}
