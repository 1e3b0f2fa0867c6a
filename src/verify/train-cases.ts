import { join } from "node:path";
import { z } from "zod";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { MODALITIES } from "../model/visual.ts";
import { readJsonObject } from "../weights/files.ts";
import { invalid } from "./golden.ts";

/** A conversation that the reference was trained on. */
export interface TrainSample {
  modality: (typeof MODALITIES)[number];
  /** Plain file names in `media/`: an image, or the frames of a video. */
  media: readonly string[];
  conversations: readonly { from: "system" | "human" | "gpt"; value: string }[];
  ids: readonly number[];
  labels: readonly number[];
}

/** How a reference was trained, full batch step by step, and what came out. */
export interface TrainSetting {
  name: string;
  /** The same at every step. */
  learningRate: number;
  betas: [number, number];
  epsilon: number;
  weightDecay: number;
  maxGradNorm: number;
  /** Places whose next token was learnt. */
  labelCount: number;
  /** Of each step, before its update. */
  losses: readonly number[];
  /** Of each step, before clipping. */
  gradNorms: readonly number[];
  /** Norm of each trained tensor's gradient at the first step. These are all that was trained. */
  tensorNorms: ReadonlyMap<string, number>;
}

export interface TrainCases {
  samples: readonly TrainSample[];
  settings: readonly TrainSetting[];
}

const FILE = "train_cases.json";
const JSON_LIMITS = { maxValues: 1_000_000, maxTextBytes: LIMITS.configBytes };

const positive = z.number().positive();
const SAMPLE = z.object({
  modality: z.enum(MODALITIES),
  // Plain names, so that nothing outside of the folder is read.
  media: z
    .array(z.string().regex(/^[\w-][\w.-]*$/))
    .min(1)
    .max(LIMITS.framesPerVideo),
  conversations: z
    .array(z.object({ from: z.enum(["system", "human", "gpt"]), value: z.string().max(LIMITS.promptChars) }))
    .min(1),
  input_ids: z.array(z.int()).min(1),
  labels: z.array(z.int()).min(1),
});
const SETTING = z.object({
  learning_rate: positive,
  schedule: z.literal("constant"),
  betas: z.tuple([z.number(), z.number()]),
  eps: positive,
  weight_decay: z.number().nonnegative(),
  max_grad_norm: positive,
  label_count: z.int().positive(),
  losses: z.array(positive).min(1).max(1000),
  grad_norms: z.array(positive).min(1).max(1000),
  first_step_grad_norm_by_tensor: z.record(z.string().max(400), z.number().nonnegative()),
});
const CASES = z.object({ samples: z.array(SAMPLE).min(1), stages: z.record(z.string().max(200), SETTING) });

/**
 * Reads how a reference was trained: `train_cases.json`.
 * @param only name of the one setting that is wanted
 * @throws OryxError `golden_invalid`, `bad_option` when there is no such setting
 */
export async function readTrainCases(dir: string, only?: string): Promise<TrainCases> {
  const json = await readJsonObject(join(dir, FILE), LIMITS.configBytes, "golden_invalid", JSON_LIMITS).catch(
    (error) => {
      throw error instanceof OryxError ? invalid(`${FILE}: ${error.message}`, error) : error;
    },
  );
  const parsed = CASES.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(`${FILE}: ${issue?.path.join(".")}: ${issue?.message}`, parsed.error);
  }
  const settings = Object.entries(parsed.data.stages).map(([name, s]): TrainSetting => {
    if (s.grad_norms.length !== s.losses.length) throw invalid(`${FILE}: ${name} has a loss without a norm`);
    return {
      name,
      learningRate: s.learning_rate,
      betas: s.betas,
      epsilon: s.eps,
      weightDecay: s.weight_decay,
      maxGradNorm: s.max_grad_norm,
      labelCount: s.label_count,
      losses: s.losses,
      gradNorms: s.grad_norms,
      tensorNorms: new Map(Object.entries(s.first_step_grad_norm_by_tensor)),
    };
  });
  const chosen = only === undefined ? settings : settings.filter((s) => s.name === only);
  if (chosen.length === 0) {
    const names = settings.map((s) => s.name).join(", ");
    throw new OryxError("bad_option", `there is no setting ${JSON.stringify(only)}`, `the file has ${names}`);
  }
  const samples = parsed.data.samples.map(({ input_ids: ids, ...sample }) => ({ ...sample, ids }));
  return { samples, settings: chosen };
}
