import { z } from "zod";
import { LIMITS } from "../core/limits.ts";
import { PATCH } from "../model/vit.ts";
import { PARTS } from "../train/arena.ts";
import { KINDS, LONG_FRAMES, MOST_CARDS } from "../world/sample.ts";

/**
 * What a `recipe.json` may say. A recipe is data: it names a model, where its weights come from, and the stages in
 * which it is trained. Whatever is not listed here is refused, so that a misspelt hyperparameter never trains in silence.
 */

const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/i, "use letters, digits, '.', '-' and '_'");
const text = z.string().max(2000);
const place = z.string().min(1).max(4096);
const upTo = (most: number) => z.int().positive().max(most);
/** Examples or steps: a hundred times what the paper's largest stage has. */
const amount = upTo(1_000_000_000);

/** What one example of a source is expected to take, for estimates made without reading any. */
const estimate = z.strictObject({
  /** Tokens of the sequence, visual ones included. */
  tokens: z.number().positive().max(LIMITS.maxPositions),
  /** Tokens that are learnt. */
  labels: z.number().nonnegative().max(LIMITS.maxPositions),
  /** Patches that the vision tower encodes, and the pictures (views of an image, frames) that they are of. */
  patches: z.number().nonnegative().max(1e9),
  pictures: z.number().nonnegative().max(1e6),
});

const worldData = z
  .strictObject({
    from: z.literal("world"),
    /** Kinds of questions, with their weights. */
    kinds: z.partialRecord(z.enum(KINDS), z.number().positive().max(1e6)).refine(isFilled, "names no kind"),
    /** Bounds on what is shown; see the world's `Easy`. */
    easy: z
      .strictObject({
        things: upTo(5),
        side: z.int().min(64).max(512),
        texts: z.number().min(0).max(1).optional(),
        letters: z.number().min(0).max(1).optional(),
      })
      .optional(),
    /** Of long films: how many frames each has, how many cards, or a card with an object; see the world's `LongFilm`. */
    needle: z
      .strictObject({
        frames: z.int().min(LONG_FRAMES.least).max(LONG_FRAMES.most).optional(),
        cards: upTo(MOST_CARDS).optional(),
        object: z.boolean().optional(),
      })
      .optional(),
    /** Whether nothing is shown, and each question comes with the reasons of its answer: only to conclude is learnt. */
    told: z.boolean().optional(),
    /** Examples of one epoch. */
    count: amount,
  })
  .refine(({ kinds, needle }) => needle === undefined || kinds.needle !== undefined, {
    path: ["needle"],
    message: "is about long films, and kinds has none: add the kind needle",
  })
  .refine(({ easy, needle }) => easy === undefined || needle?.cards === undefined, {
    path: ["needle", "cards"],
    message: "do not fit into an easy film: leave easy out",
  })
  .refine(({ needle }) => !needle?.object || needle.cards === undefined, {
    path: ["needle", "cards"],
    message: "have texts, and the card is to show an object: give one of the two",
  });

const recordsData = z.strictObject({
  from: z.literal("records"),
  /** File of records, JSON or JSON lines; relative to the recipe. */
  file: place,
  /** Folder that the records' media lie in; relative to the recipe. Default: the file's folder. */
  media: place.optional(),
  /** Records, for a plan: with an estimate, it is made without the file. A run counts what is there. */
  count: amount.optional(),
  estimate: estimate.optional(),
});

const area = upTo(LIMITS.imagePixels);
const stride = z.int().positive().multipleOf(PATCH).max(4096);
const frames = z.strictObject({ least: area, most: area, stride }).partial();
/** Bounds of a stage that differ from the model's own (`mm_views` of its config). */
const views = z
  .strictObject({
    image: z.strictObject({ most: area, overview: area, stride }).partial(),
    video: frames,
    video_long: frames,
  })
  .partial();

/** The language model's matrices stay as they are, and get corrections of low rank that are learnt. */
const lora = z.strictObject({
  rank: upTo(4096),
  /** Corrections count alpha / rank times. */
  alpha: z.number().positive().max(65_536),
});

const stage = z
  .strictObject({
    name,
    about: text.optional(),
    /** Which of the recipe's models is trained; by default the one of the stage before, or the first. */
    model: name.optional(),
    data: z
      .array(z.discriminatedUnion("from", [worldData, recordsData]))
      .min(1)
      .max(64),
    /**
     * How a record becomes tokens: as a conversation, or picture and caption alone; "naming": each visual token is
     * named by itself, past all layers of the language model (pages of the world alone).
     */
    template: z.enum(["chat", "plain", "naming"]).default("chat"),
    /** Parts that are trained, or patterns of tensor names such as `model.layers.*.mlp.*`. The rest is frozen. */
    train: z.array(text.min(1)).min(1).max(64),
    lora: lora.optional(),
    /** The highest learning rate. */
    rate: z.number().positive().max(1),
    /** What that rate is multiplied by for the tower, the connector or the language model. */
    rates: z.partialRecord(z.enum(PARTS), z.number().positive().max(1000)).optional(),
    schedule: z.enum(["cosine", "constant"]).default("cosine"),
    /** Share of the steps in which the rate rises from 0. */
    warmup: z.number().min(0).max(1).default(0.03),
    /** Examples of one step. */
    batch: upTo(65_536),
    epochs: z.number().positive().max(10_000).optional(),
    steps: amount.optional(),
    /** Longer examples are skipped, counted and named. */
    maxTokens: upTo(LIMITS.maxPositions),
    views: views.optional(),
    /** AdamW's decay of the means of gradients and of their squares. */
    betas: z.tuple([z.number().min(0).max(0.9999), z.number().min(0).max(0.99999)]).default([0.9, 0.999]),
    weightDecay: z.number().min(0).max(10).default(0),
    /** Whether Muon takes the steps of the matrices between hidden features, and AdamW only those of the others. */
    muon: z.boolean().optional(),
    /** Largest norm of the gradient of all parameters together. */
    clip: z.number().positive().max(1e6).default(1),
    /** Tokens that the language model takes at once: sets memory, not results. */
    microTokens: upTo(LIMITS.maxPositions).default(4096),
  })
  .refine(({ epochs, steps }) => (epochs === undefined) !== (steps === undefined), {
    path: ["steps"],
    message: "give either epochs or steps",
  })
  .refine(
    ({ template, data }) =>
      template !== "naming" ||
      data.every(
        (source) =>
          source.from === "world" &&
          !source.told &&
          Object.keys(source.kinds).every((kind) => kind === "page"),
      ),
    {
      path: ["template"],
      message: "only pages of the world say what stands where: name no other kinds, no records, nothing told",
    },
  );

const model = z.strictObject({
  /** The model's config.json; relative to the recipe. */
  config: place.default("config.json"),
  /** Folder or hub id of the tokenizer's files. Default: the config's folder. */
  tokenizer: place.optional(),
  /** What config.json does not tell of the vision tower. */
  tower: z.strictObject({
    blocks: upTo(LIMITS.modelLayers),
    mlpWidth: upTo(LIMITS.modelWidth),
    grid: upTo(1024),
  }),
  /** Rows of the compressor's projections. */
  compressorWidth: upTo(LIMITS.modelWidth).default(256),
  /**
   * Where the weights of each part come from: "random", "carried" (the stage before, of another model), a folder
   * (relative to the recipe), or a hub id.
   */
  start: z.strictObject({ tower: place, connector: place, language: place }),
});

export const RECIPE = z.strictObject({
  recipe: z.literal(1),
  name,
  about: text.optional(),
  /** Seeds the order of the data, the world's samples and random weights. */
  seed: z
    .int()
    .nonnegative()
    .max(2 ** 32 - 1)
    .default(0),
  /** Type of the exported weights. */
  weights: z.enum(["bf16", "f32"]).default("bf16"),
  models: z.record(name, model).refine((models) => isFilled(models) && Object.keys(models).length <= 8, {
    message: "give one to eight models",
  }),
  stages: z.array(stage).min(1).max(64),
});

function isFilled(object: object): boolean {
  return Object.keys(object).length > 0;
}

type Deep<T> = T extends object ? { readonly [K in keyof T]: Deep<T[K]> } : T;
export type RawRecipe = Deep<z.infer<typeof RECIPE>>;
export type Model = RawRecipe["models"][string];
export type Stage = RawRecipe["stages"][number];
export type StageData = Stage["data"][number];
