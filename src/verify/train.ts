import { join } from "node:path";
import { quote } from "../core/errors.ts";
import { conversationExample, recordMessages } from "../data/conversation.ts";
import type { Example } from "../data/example.ts";
import { exampleVisual } from "../data/visual.ts";
import { decodeImage } from "../media/image.ts";
import { createNodeRuntime, type NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { loadParameters } from "../train/parameters.ts";
import { Trainer } from "../train/step.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { openTokenizer } from "../weights/tokenizer.ts";
import { firstDifference } from "./compare.ts";
import { invalid, VISUAL_ID } from "./golden.ts";
import { readTrainCases, type TrainCases, type TrainSample, type TrainSetting } from "./train-cases.ts";

/** Largest relative error of a loss. */
const LOSS_TOLERANCE = 1e-4;
/** Largest relative error of a norm of gradients. */
const NORM_TOLERANCE = 1e-3;
/**
 * What a tensor's norm may differ by in any case, as a share of the norm over all tensors: some gradients are zero by
 * the maths (softmax ignores what is added to all its scores: a bias of keys), and what is left of them is rounding.
 */
const NORM_FLOOR = 1e-6;

/** One number against the reference's. */
export interface TrainCheck {
  setting: string;
  /** `labels`, `ids`, `label_count`, `loss`, `grad_norm`, or the name of a tensor, whose first gradient's norm it is. */
  name: string;
  /** Step from 0; of losses and norms over all tensors. */
  step?: number;
  actual: number;
  expected: number;
  /** Relative error. */
  error: number;
  passed: boolean;
}

export interface TrainReport {
  dir: string;
  passed: boolean;
  checks: readonly TrainCheck[];
  totalMs: number;
}

export interface VerifyTrainOptions extends NodeRuntimeOptions {
  /** Only the setting of this name. */
  only?: string;
  signal?: AbortSignal | undefined;
  /** Told when a setting begins. */
  onSetting?: (name: string) => void;
}

/**
 * Trains the model in a folder as `train_cases.json` beside it says, and compares tokens, labels, losses and
 * gradients with those of an independent reference.
 * @returns what was found; failed checks are no error
 * @throws OryxError `golden_invalid`, `bad_option` (no such setting), and what opening and training throw
 */
export async function verifyTraining(dir: string, options: VerifyTrainOptions = {}): Promise<TrainReport> {
  const { only, signal, onSetting, ...runtimeOptions } = options;
  const start = performance.now();
  const checkpoint = await openCheckpoint(dir);
  const cases = await readTrainCases(dir, only);
  const examples = await readExamples(checkpoint, cases.samples);
  const checks = cases.samples.flatMap((sample, i) => checkText(sample, examples[i] as Example, i));
  const runtime = await createNodeRuntime(runtimeOptions);
  try {
    for (const setting of cases.settings) {
      onSetting?.(setting.name);
      checks.push(...(await checkSetting(checkpoint, setting, examples, runtime, signal)));
    }
  } finally {
    await runtime.close();
  }
  const passed = checks.every((c) => c.passed);
  return { dir, passed, checks, totalMs: performance.now() - start };
}

/** The reference's conversations through our own text and media layers. */
export async function readExamples(
  { dir, config }: Checkpoint,
  samples: TrainCases["samples"],
): Promise<Example[]> {
  const tokenizer = await openTokenizer(dir);
  return Promise.all(
    samples.map(async ({ modality, media, conversations }, i) => {
      const pictures = await Promise.all(media.map((name) => decodeImage(join(dir, "media", name))));
      return conversationExample({
        id: `sample ${i}`,
        messages: recordMessages(conversations),
        visuals: [exampleVisual(pictures, modality, config.vision.views)],
        tokenizer,
        style: config.family,
        maxTokens: config.language.maxPositions,
      });
    }),
  );
}

/** Ids and labels token by token; what is compared is how many agree before the first that differs. */
function checkText(sample: TrainSample, example: Example, i: number): TrainCheck[] {
  const ids = example.prompt.map((t) => (typeof t === "number" ? t : VISUAL_ID));
  const check = (name: string, actual: readonly number[], expected: readonly number[]): TrainCheck => {
    const at = firstDifference(actual, expected);
    const same = at ?? expected.length;
    const error = 1 - same / expected.length;
    return {
      setting: `sample ${i}`,
      name,
      actual: same,
      expected: expected.length,
      error,
      passed: at === undefined,
    };
  };
  return [check("ids", ids, sample.ids), check("labels", example.labels, sample.labels)];
}

async function checkSetting(
  checkpoint: Checkpoint,
  setting: TrainSetting,
  examples: readonly Example[],
  runtime: Runtime,
  signal: AbortSignal | undefined,
): Promise<TrainCheck[]> {
  const { name, betas, epsilon, weightDecay, maxGradNorm } = setting;
  const parameters = await loadParameters(checkpoint, { trained: [...setting.tensorNorms.keys()] });
  const unknown = [...setting.tensorNorms.keys()].find((tensor) => !parameters.trained.has(tensor));
  if (unknown !== undefined) throw invalid(`${name} has a norm of ${quote(unknown)}, which is no tensor`);
  const adamw = { betas, epsilon, weightDecay, maxGradNorm };
  const trainer = await Trainer.load(parameters, runtime, { adamw });
  const checks: TrainCheck[] = [];
  try {
    for (const [step, expected] of setting.losses.entries()) {
      const { loss, labels } = await trainer.gradients(examples, { signal });
      if (step === 0) {
        checks.push({ ...compared(labels, setting.labelCount, 0), setting: name, name: "label_count" });
        checks.push(...checkTensors(trainer, setting));
      }
      checks.push({ ...compared(loss, expected, LOSS_TOLERANCE), setting: name, name: "loss", step });
      const { gradNorm } = await trainer.update(setting.learningRate);
      const norm = compared(gradNorm, setting.gradNorms[step] as number, NORM_TOLERANCE);
      checks.push({ ...norm, setting: name, name: "grad_norm", step });
    }
  } finally {
    await trainer.close();
  }
  return checks;
}

/** The norm of each tensor's gradient. */
function checkTensors(
  trainer: Trainer,
  { name: setting, tensorNorms, gradNorms }: TrainSetting,
): TrainCheck[] {
  const floor = NORM_FLOOR * (gradNorms[0] as number);
  return [...tensorNorms].map(([name, expected]) => {
    const { data } = trainer.gradientArena.tensor(name);
    const actual = Math.sqrt(data.reduce((sum, x) => sum + x * x, 0));
    const found = compared(actual, expected, NORM_TOLERANCE);
    const passed = found.passed || Math.abs(actual - expected) <= floor;
    return { ...found, passed, setting, name };
  });
}

function compared(actual: number, expected: number, tolerance: number) {
  const error = actual === expected ? 0 : Math.abs(actual - expected) / Math.abs(expected);
  return { actual, expected, error, passed: error <= tolerance };
}

/** The report as a table: a line for each loss and norm, one for all tensors, and one for each that failed. */
export function trainTable({ checks }: TrainReport): string {
  const lines = checks.filter((c) => c.step !== undefined || !isTensor(c) || !c.passed).map(line);
  for (const setting of new Set(checks.map((c) => c.setting))) {
    const tensors = checks.filter((c) => c.setting === setting && isTensor(c));
    const floor = tensors.filter((c) => c.passed && c.error > NORM_TOLERANCE).map((c) => c.name);
    const worst = Math.max(...tensors.filter((c) => !floor.includes(c.name)).map((c) => c.error));
    if (tensors.length === 0) continue;
    const zero = floor.length > 0 ? `, but ${floor.join(", ")}, which is zero up to rounding` : "";
    lines.push(
      `${setting.padEnd(9)} norms of ${tensors.length} tensors: within ${worst.toExponential(1)}${zero}`,
    );
  }
  const failed = checks.filter((c) => !c.passed).length;
  const verdict =
    failed === 0 ? `${checks.length} checks passed` : `${failed} of ${checks.length} checks failed`;
  return [...lines, verdict].join("\n");
}

const isTensor = ({ name }: TrainCheck) => name.includes(".");

function line({ setting, name, step, actual, expected, error, passed }: TrainCheck): string {
  const what = step === undefined ? name : `${name} ${step + 1}`;
  const exact = Number.isInteger(expected);
  const [a, e] = [actual, expected].map((x) => (exact ? String(x) : x.toPrecision(8)));
  const words = exact && passed ? `${a}` : `${a} for ${e}, off by ${error.toExponential(1)}`;
  return `${setting.padEnd(9)} ${what.padEnd(13)} ${passed ? "✓" : "✗"} ${words}`;
}
