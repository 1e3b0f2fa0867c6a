import { readFile } from "node:fs/promises";
import { totalmem } from "node:os";
import { join } from "node:path";
import { OryxError } from "../core/errors.ts";
import { type Batches, openBatches, type Skipped } from "../data/batches.ts";
import { createNodeRuntime, nativeCallsAtOnce, physicalCores } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { exportModel, removeExportLeftovers } from "../train/export.ts";
import { type Shares, shareOut } from "../train/lanes.ts";
import { type Progress, trainStage } from "../train/loop.ts";
import { DEFAULT_ADAMW } from "../train/optimiser.ts";
import { Parameters } from "../train/parameters.ts";
import type { Profile } from "../train/profile.ts";
import { RunFolder, type RunState, restore, restoreParameters } from "../train/run-folder.ts";
import { Trainer } from "../train/step.ts";
import { DATA_THREAD, openStageData, type StageDataSpec, stageDataSpec } from "./data.ts";
import { requireMemory } from "./estimate.ts";
import {
  fingerprintOf,
  hashOf,
  layersPassed,
  modelOf,
  type Recipe,
  readModelConfig,
  recordBytes,
  recordTimes,
  stagesUntil,
  stepsOf,
  viewsOfStage,
} from "./recipe.ts";
import type { Stage } from "./schema.ts";
import { carryParameters, type ResolveModel, startParameters, tokenizerDirOf } from "./start.ts";

export interface RunOptions {
  /** Folder of the run; it goes on there at its last snapshot, if there is one. */
  out: string;
  /** Finds models that a recipe names by a hub id. */
  resolve: ResolveModel;
  /** What tells this release from others: between two of them the same example may have other bits. */
  release?: string | undefined;
  /** Threads of the CPU; default: its physical cores. */
  threads?: number | undefined;
  /** Threads that prepare examples; default 1. */
  dataThreads?: number | undefined;
  /** Name of the stage behind which the run stops; default: the last. */
  lastStage?: string | undefined;
  signal?: AbortSignal | undefined;
  /** The run stops, with a snapshot, once it has gone on for so long; default: never. */
  maxMs?: number | undefined;
  /** A snapshot is written at every so many steps of a stage, and after so much time; default 200, and 10 minutes. */
  snapshotSteps?: number | undefined;
  snapshotMs?: number | undefined;
  /** Snapshots that are kept; default 2. */
  keep?: number | undefined;
  /** Called before a stage begins or goes on. */
  onStage?: (stage: Stage) => Promise<void>;
  onProgress?: (progress: Progress) => void;
  /** Told what the run goes on from, and of each snapshot that was found damaged. */
  onNote?: (note: string) => void;
  /** Told of each example that is skipped. */
  onSkipped?: (skipped: Skipped) => void;
  /** Called after each snapshot; `write` makes a model folder of what is learnt so far. */
  onSnapshot?: (at: SnapshotMoment) => Promise<void>;
  /** Called before the trained model is written, at the end. */
  onExport?: () => void;
}

export interface SnapshotMoment {
  stage: Stage;
  state: Readonly<RunState>;
  write: (dir: string) => Promise<void>;
}

export interface RunOutcome {
  /** Whether all stages that were asked for are done. */
  done: boolean;
  state: Readonly<RunState>;
  /** Folder of the trained model, once the recipe's last stage is done. */
  model: string | undefined;
  /** What the time of the last stage went to. */
  profile: Profile | undefined;
}

const MODEL_DIR = "model";

/** Of a machine's memory, what attention's scores may take: gradients of them come on top, for a block at a time. */
const SCORES_SHARE = 0.4;

/**
 * Trains a recipe stage by stage, from its beginning or from the last snapshot in the folder; then exports the model.
 * A run that was interrupted, at whatever moment, and goes on ends with the very same bits, given as many threads.
 * @throws OryxError `recipe_invalid` (also when the folder holds a run of another recipe), `snapshot_damaged`,
 *   `training_failed`, `disk`, and what models and data throw
 */
export async function runRecipe(recipe: Recipe, options: RunOptions): Promise<RunOutcome> {
  const stages = stagesUntil(recipe, options.lastStage);
  const folder = await openFolder(options);
  const shares = shareOut(options.threads ?? physicalCores(), nativeCallsAtOnce());
  const runtime = await createNodeRuntime({ threads: shares.threads });
  const run = new Run(recipe, folder, runtime, { ...options, shares });
  try {
    return await run.through(stages);
  } finally {
    await run.close();
    await folder.close();
    await runtime.close();
  }
}

const openFolder = ({ out, keep = 2, onNote = () => {} }: RunOptions): Promise<RunFolder> =>
  RunFolder.open(out, keep, ({ message }) => onNote(`warning: ${message}; going back to the one before`));

/**
 * Exports what the last snapshot of a run holds; nothing but its weights is loaded.
 * @throws OryxError `snapshot_damaged`, `recipe_invalid`, `disk`
 */
export async function exportRun(recipe: Recipe, dir: string, options: RunOptions): Promise<RunState> {
  const { resumed } = await openFolder(options);
  if (resumed === undefined) {
    const problem = `${options.out} has no snapshot`;
    throw new OryxError("snapshot_damaged", problem, "train first, or name the folder of a run with --out");
  }
  const stage = await stageOf(recipe, resumed.facts, options.out);
  const model = await readModelConfig(recipe, modelOf(recipe, stage));
  const parameters = new Parameters(model, { trained: stage.train, lora: stage.lora });
  await restoreParameters(resumed, parameters);
  const runtime = await createNodeRuntime({ threads: options.threads ?? physicalCores() });
  try {
    await writeModel(dir, parameters, { recipe, stage, runtime, resolve: options.resolve });
  } finally {
    await runtime.close();
  }
  return resumed.facts;
}

interface Origin {
  recipe: Recipe;
  stage: Stage;
  runtime: Runtime;
  resolve: ResolveModel;
}

/** What is learnt so far, as a model folder. */
async function writeModel(dir: string, parameters: Parameters, { recipe, stage, runtime, resolve }: Origin) {
  const model = modelOf(recipe, stage);
  const { path: configPath } = await readModelConfig(recipe, model);
  const tokenizerDir = await tokenizerDirOf(recipe, model, resolve);
  await exportModel(dir, parameters.merged(runtime), { configPath, tokenizerDir, type: recipe.weights });
}

/** The stage that a run stands in. @throws OryxError `recipe_invalid` when it is a run of another recipe */
async function stageOf(recipe: Recipe, { stage: name, fingerprint }: RunState, out: string): Promise<Stage> {
  const stage = recipe.stages.find((stage) => stage.name === name);
  if (stage !== undefined && (await fingerprintAt(recipe, stage)) === fingerprint) return stage;
  const problem = `${out} holds a run of another recipe, or of other records, which stands in stage ${name}`;
  throw new OryxError("recipe_invalid", problem, "train into another folder with --out, or undo the change");
}

async function fingerprintAt(recipe: Recipe, stage: Stage): Promise<string> {
  const { config } = await readModelConfig(recipe, modelOf(recipe, stage));
  return fingerprintOf(recipe, recipe.stages.indexOf(stage), config, await recordBytes(recipe, stage));
}

type RunSettings = RunOptions & { shares: Shares };

/** One run of a recipe in its folder. */
class Run {
  readonly #recipe: Recipe;
  readonly #folder: RunFolder;
  readonly #runtime: Runtime;
  readonly #options: RunSettings;
  readonly #untilMs: number;
  #state: RunState;
  #trainer: Trainer | undefined;
  /** The stage that the trainer is of. */
  #stage: Stage | undefined;

  constructor(recipe: Recipe, folder: RunFolder, runtime: Runtime, options: RunSettings) {
    this.#recipe = recipe;
    this.#folder = folder;
    this.#runtime = runtime;
    this.#options = options;
    this.#untilMs = performance.now() + (options.maxMs ?? Number.POSITIVE_INFINITY);
    const { metricsBytes: _, ...facts } = folder.resumed?.facts ?? { ...nothing(), metricsBytes: 0 };
    this.#state = { ...facts, shares: options.shares };
  }

  async through(stages: readonly Stage[]): Promise<RunOutcome> {
    const first = await this.#resume();
    let done = true;
    for (const stage of stages.slice(first)) await this.#check(stage);
    for (const stage of stages.slice(first)) {
      if (this.#stage !== stage) await this.#begin(stage);
      await this.#options.onStage?.(stage);
      done = await this.#train(stage);
      if (!done) break;
    }
    const isLast = done && stages.length === this.#recipe.stages.length;
    const model = join(this.#options.out, MODEL_DIR);
    if (isLast) {
      this.#options.onExport?.();
      await removeExportLeftovers(model);
      await this.#write(model);
    }
    const profile = this.#trainer?.profile;
    return { done, state: this.#state, model: isLast ? model : undefined, profile };
  }

  async close(): Promise<void> {
    await this.#trainer?.close();
  }

  /** Finds what shapes and the recipe alone say against a stage, before the hours that those before it take. */
  async #check(stage: Stage): Promise<void> {
    const model = await readModelConfig(this.#recipe, modelOf(this.#recipe, stage));
    requireMemory({ stage, model, lanes: this.#options.shares.lanes }, { total: totalmem(), held: 0 });
    viewsOfStage(stage, model.config.vision.views);
  }

  /** Goes back to where the last snapshot was written. @returns the number of the stage to go on with */
  async #resume(): Promise<number> {
    const { resumed } = this.#folder;
    if (resumed === undefined) return 0;
    const { step, stageStep, shares: before, inputs: noted } = resumed.facts;
    const stage = await stageOf(this.#recipe, resumed.facts, this.#options.out);
    await restore(resumed, await this.#load(stage));
    const { shares, onNote } = this.#options;
    onNote?.(`going on at step ${step} (stage ${stage.name}, step ${stageStep})`);
    const inputs = await this.#inputsOf(stage);
    const others = Object.keys(inputs).filter((name) => (noted?.[name] ?? inputs[name]) !== inputs[name]);
    if (others.length > 0) {
      onNote?.(
        `note: not as they were: ${others.join(", ")}; the run ends otherwise than without the interruption`,
      );
    }
    this.#state = { ...this.#state, inputs };
    if (before !== undefined && (before.lanes !== shares.lanes || before.threads !== shares.threads)) {
      const told = ({ lanes, threads }: Shares) => `${lanes + threads - 1} in ${lanes} lanes`;
      onNote?.(
        `note: threads are ${told(shares)}, and were ${told(before)}: sums are rounded in another way, so the run does ` +
          "not end with the same bits as without the interruption",
      );
    }
    return this.#recipe.stages.indexOf(stage);
  }

  /** Sets up a stage that follows another, or is the first. */
  async #begin(stage: Stage): Promise<void> {
    const [before, stageBefore] = [this.#trainer?.parameters, this.#stage];
    // Gradients and moments of the stage before make room for those of this one.
    await this.#trainer?.close();
    this.#trainer = undefined;
    const { parameters } = await this.#load(stage, before);
    const [runtime, { resolve }] = [this.#runtime, this.#options];
    if (before !== undefined && stageBefore?.model === stage.model) {
      parameters.initialise(this.#recipe.seed);
      await carryParameters(before, parameters, runtime);
    } else {
      const start = { resolve, before, runtime };
      await startParameters(parameters, this.#recipe, modelOf(this.#recipe, stage), start);
    }
    const fingerprint = await fingerprintAt(this.#recipe, stage);
    const inputs = await this.#inputsOf(stage);
    this.#state = { ...this.#state, stage: stage.name, stageStep: 0, updates: 0, fingerprint, inputs };
  }

  /** What a stage's bits depend on beside its fingerprint, by the names that a user knows. */
  async #inputsOf(stage: Stage): Promise<Record<string, string>> {
    // Without one, it is the data that says so.
    const file = join(await this.#tokenizerDir(stage), "tokenizer.json");
    return {
      "the tokenizer": hashOf(await readFile(file).catch(() => "")),
      "the records": hashOf(JSON.stringify(await recordTimes(this.#recipe, stage))),
      microTokens: String(stage.microTokens),
      "the release of oryx": this.#options.release ?? "",
    };
  }

  /** Makes a stage's trainer that of the run. @param before what is held meanwhile */
  async #load(stage: Stage, before?: Parameters): Promise<Trainer> {
    const model = await readModelConfig(this.#recipe, modelOf(this.#recipe, stage));
    const held = before ? before.trained.values.byteLength + before.frozen.values.byteLength : 0;
    const { lanes } = this.#options.shares;
    requireMemory({ stage, model, lanes }, { total: totalmem(), held });
    const parameters = new Parameters(model, { trained: stage.train, lora: stage.lora });
    const trainer = await Trainer.load(parameters, this.#runtime, {
      adamw: {
        ...DEFAULT_ADAMW,
        rates: stage.rates,
        betas: stage.betas,
        weightDecay: stage.weightDecay,
        maxGradNorm: stage.clip,
        muon: stage.muon,
      },
      tokensPerRun: stage.microTokens,
      layers: layersPassed(stage, model.config.language),
      lanes,
      scoreBytes: SCORES_SHARE * totalmem(),
    });
    this.#trainer = trainer;
    this.#stage = stage;
    return trainer;
  }

  async #train(stage: Stage): Promise<boolean> {
    const { signal, onProgress = () => {}, onSkipped = () => {} } = this.#options;
    const batches = await this.#openBatches(stage);
    try {
      const steps = stepsOf(stage, batches.length);
      const { schedule: kind, rate: peak, warmup } = stage;
      return await trainStage(
        this.#trainer as Trainer,
        batches.from(this.#state.stageStep, Math.max(steps, this.#state.stageStep)),
        this.#state,
        this.#folder,
        {
          schedule: { kind, peak, steps, warmup },
          signal,
          untilMs: this.#untilMs,
          snapshotSteps: this.#options.snapshotSteps ?? 200,
          snapshotMs: this.#options.snapshotMs ?? 600_000,
          onProgress,
          onSkipped,
          onSnapshot: () => this.#afterSnapshot(stage),
        },
      );
    } finally {
      await batches.close();
    }
  }

  async #afterSnapshot(stage: Stage): Promise<void> {
    const write = (dir: string) => this.#write(dir);
    await this.#options.onSnapshot?.({ stage, state: this.#state, write });
  }

  async #openBatches(stage: Stage): Promise<Batches> {
    const { config } = await readModelConfig(this.#recipe, modelOf(this.#recipe, stage));
    const spec: StageDataSpec = await stageDataSpec(
      this.#recipe,
      stage,
      config,
      await this.#tokenizerDir(stage),
    );
    return openBatches({
      spec,
      open: openStageData,
      workerUrl: DATA_THREAD,
      workers: this.#options.dataThreads ?? 1,
      batchSize: stage.batch,
      seed: spec.seed,
    });
  }

  #write(dir: string): Promise<void> {
    const { parameters } = this.#trainer as Trainer;
    const origin = { recipe: this.#recipe, stage: this.#stage as Stage, runtime: this.#runtime };
    return writeModel(dir, parameters, { ...origin, resolve: this.#options.resolve });
  }

  #tokenizerDir(stage: Stage): Promise<string> {
    return tokenizerDirOf(this.#recipe, modelOf(this.#recipe, stage), this.#options.resolve);
  }
}

/** Where a run begins. */
const nothing = (): RunState => ({
  step: 0,
  stage: "",
  stageStep: 0,
  updates: 0,
  fingerprint: "",
  skipped: {},
  tokens: 0,
  seconds: 0,
});
