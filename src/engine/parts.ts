import type { ViewLimits } from "../model/views.ts";
import type { PromptStyle } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Caching } from "./cache.ts";
import type { Decoder } from "./decoder.ts";
import type { VisionEncoder } from "./encoder.ts";
import type { KvCache } from "./kv.ts";
import type { OpenMedia } from "./media.ts";
import type { SamplingOptions } from "./sampler.ts";
import type { SpeedCache } from "./speed-cache.ts";

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
  /** What is kept between requests; without it, every request does all of its work. */
  caching?: Caching | undefined;
  /** Keeps what was measured of this model on this machine; without it, that is measured whenever it is needed. */
  speeds?: SpeedCache | undefined;
  /** Releases the sessions; runs in flight end first. A second call does nothing. */
  close: () => Promise<void>;
  /** A request's sampling options over the model's defaults. */
  sampling: (request: SamplingOptions) => SamplingOptions;
}
