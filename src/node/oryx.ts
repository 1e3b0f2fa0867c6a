import { z } from "zod";
import { OryxError } from "../core/errors.ts";
import { Engine } from "../engine/engine.ts";
import { KvCache } from "../engine/kv.ts";
import type { SamplingOptions } from "../engine/sampler.ts";
import { SpeedCache } from "../engine/speed-cache.ts";
import type { KvType } from "../model/oryx.ts";
import { resolveModel } from "../net/hub.ts";
import { hubSettings } from "../net/settings.ts";
import type { Device } from "../runtime/session.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { stopIds } from "../weights/tokenizer.ts";
import { mediaCacheDir } from "./cache-dir.ts";
import { type CacheOptions, openCaching } from "./caching.ts";
import { computedBy } from "./computed-by.ts";
import { mediaOpener, openMedia } from "./media.ts";
import { type OpenModel, openModel } from "./open.ts";
import { PACKAGED_MODEL } from "./packaged.ts";

export interface LoadOptions {
  /** Where to compute; default "cpu". */
  device?: Device | undefined;
  /** Threads of the CPU; default: as many as there are physical cores. */
  threads?: number | undefined;
  /** Type in which keys and values are cached: "f16" halves that memory. Default "f32". */
  kv?: KvType | undefined;
  /** Path of another ONNX Runtime library than the one that npm installed. */
  libraryPath?: string | undefined;
  /** Tokens that a conversation may hold; default and most: what the model was made for. */
  contextTokens?: number | undefined;
  /** Conversations that may be open at once; default 4. Memory is taken as they are used. */
  conversations?: number | undefined;
  /** Where the vision tower is, when it is not in the model folder. */
  visionTower?: string | undefined;
  /**
   * What was made of images and videos is kept, so that a further question about them is answered at once, by another
   * process too. It lies on this machine's disk, for its user alone. `false` keeps nothing; so does ORYX_CACHE=off,
   * whatever is given here.
   */
  cache?: false | CacheOptions | undefined;
  /** Folder of the hub's cache; default: where HF_HUB_CACHE, HF_HOME or the system says. */
  cacheDir?: string | undefined;
}

const DEFAULT_CONVERSATIONS = 4;

/**
 * A model in this process that answers questions about images and videos.
 *
 * ```ts
 * const oryx = await Oryx.load("path/or/hub-id");
 * for await (const piece of oryx.ask({ media: ["holiday.mp4"], question: "What happens?" })) {
 *   process.stdout.write(piece.text);
 * }
 * await oryx.close();
 * ```
 */
export class Oryx extends Engine {
  /** The model's folder, config and tensors. */
  readonly checkpoint: Checkpoint;
  /** Tokens that a conversation may hold. */
  readonly contextTokens: number;

  private constructor(
    model: OpenModel,
    contextTokens: number,
    conversations: number,
    cache: false | CacheOptions = {},
    threads?: number,
  ) {
    const { checkpoint, tokenizer, decoder, encoder } = model;
    const dir = cache === false ? undefined : mediaCacheDir(process.env, cache.dir);
    const caching = dir === undefined ? undefined : openCaching(dir, cache || {}, model.graphs);
    super({
      decoder,
      encoder,
      tokenizer,
      caching,
      speeds: new SpeedCache(caching?.cache, computedBy(model.graphs, threads)),
      openMedia: caching ? mediaOpener(caching.hashes) : openMedia,
      close: model.close,
      style: checkpoint.config.family,
      views: checkpoint.config.vision.views,
      cache: new KvCache(conversations, () => decoder.slot(contextTokens)),
      stopIds: stopIds(checkpoint, tokenizer),
      sampling: (request) => samplingOptions(request, checkpoint),
    });
    this.checkpoint = checkpoint;
    this.contextTokens = contextTokens;
  }

  /**
   * Loads a model from a folder, or from the hub's cache by its id (`oryx pull ORG/NAME` fills it); without either,
   * the one that comes with the package.
   * @throws OryxError `model_missing`, `config_invalid`, `weights_*`, `tokenizer_invalid`, `bad_option`,
   *   `runtime_*`, `device_unavailable`
   */
  static async load(where: string = PACKAGED_MODEL.folder, options: LoadOptions = {}): Promise<Oryx> {
    checkLoad(where, options);
    const { contextTokens, conversations = DEFAULT_CONVERSATIONS, cacheDir, cache, ...open } = options;
    checkCount("conversations", conversations, 1024);
    const hub = { cacheDir: cacheDir ?? hubSettings(process.env).cacheDir };
    const model = await openModel(await resolveModel(where, hub), open);
    try {
      const { maxPositions } = model.decoder.config;
      checkCount("contextTokens", contextTokens ?? maxPositions, maxPositions);
      return new Oryx(model, contextTokens ?? maxPositions, conversations, cache, open.threads);
    } catch (error) {
      await model.close();
      throw error;
    }
  }
}

const LOAD_OPTIONS = z.strictObject({
  device: z.enum(["cpu", "webgpu"]).optional(),
  threads: z.number().optional(),
  contextTokens: z.number().optional(),
  conversations: z.number().optional(),
  visionTower: z.string().optional(),
  kv: z.enum(["f32", "f16"]).optional(),
  libraryPath: z.string().optional(),
  cacheDir: z.string().optional(),
  cache: z
    .union([
      z.literal(false),
      z.strictObject({
        dir: z.string().min(1).optional(),
        maxBytes: z.number().nonnegative().optional(),
        memoryBytes: z.number().nonnegative().optional(),
        onProblem: z.custom<unknown>((f) => typeof f === "function", "expected a function").optional(),
      }),
    ])
    .optional(),
});

/** What the types say, for callers without types. @throws OryxError `bad_option` */
function checkLoad(where: string, options: LoadOptions): void {
  const { error } = z
    .object({ where: z.string().min(1), options: LOAD_OPTIONS })
    .safeParse({ where, options });
  const issue = error?.issues[0];
  if (issue === undefined) return;
  const problem = `${issue.path.join(".")}: ${issue.message}`;
  throw new OryxError(
    "bad_option",
    problem,
    "give a folder or a hub id, and the options that LoadOptions has",
  );
}

function checkCount(name: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new OryxError("bad_option", `${name} is ${value}`, `give a whole number from 1 to ${most}`);
  }
}

/** Greedy unless a temperature is asked for; then the model's own defaults fill in what the request leaves open. */
function samplingOptions(request: SamplingOptions, { generation }: Checkpoint): SamplingOptions {
  const { temperature = 0, topK, topP, repetitionPenalty, seed = 0 } = request;
  const defaults = temperature > 0 ? generation : undefined;
  return {
    temperature,
    seed,
    topK: topK ?? defaults?.topK ?? 0,
    topP: topP ?? defaults?.topP ?? 1,
    repetitionPenalty: repetitionPenalty ?? defaults?.repetitionPenalty ?? 1,
  };
}
