import { OryxError } from "../core/errors.ts";
import type { Batch } from "../data/batches.ts";
import type { Skipped } from "../data/loader.ts";
import { Smoothed } from "./metrics.ts";
import type { RunFolder, RunState } from "./run-folder.ts";
import { learningRate, type Schedule } from "./schedule.ts";
import type { Trainer } from "./step.ts";

/** How a stage goes, told after each step. */
export interface Progress {
  stage: string;
  /** Steps of the stage that are done, and all of them. */
  stageStep: number;
  steps: number;
  /** Smoothed loss; not a number before the first. */
  loss: number;
  rate: number;
  tokensPerSecond: number;
  /** Thousand million floating-point operations a second. */
  gflops: number;
  secondsPerStep: number;
  /** Of this stage. */
  secondsLeft: number;
}

export interface LoopOptions {
  schedule: Schedule;
  /** The run stops behind the step in which it fires. */
  signal?: AbortSignal | undefined;
  /** The run stops behind the step in which `performance.now()` passes this. */
  untilMs: number;
  /** A snapshot is written after so many steps, and after so much time. */
  snapshotSteps: number;
  snapshotMs: number;
  onProgress: (progress: Progress) => void;
  onSkipped: (skipped: Skipped) => void;
  /** Called once a snapshot is safely written. */
  onSnapshot: () => Promise<void>;
}

/** Steps over which loss and speed are smoothed where they are shown. */
const SMOOTHED_OVER = 20;

/**
 * Trains a stage from where it stands to its end, or until it is told to stop; in either case a snapshot is written
 * last.
 * @param batches those from `state.stageStep` on @param state goes along with the steps
 * @returns whether the stage is done
 * @throws OryxError `training_failed`, `disk`, `runtime_failed`, `data_invalid` when a stage's first examples, or all
 *   of them, are skipped, and what the data throw; the last snapshot stands
 */
export async function trainStage(
  trainer: Trainer,
  batches: AsyncIterable<Batch>,
  state: RunState,
  folder: RunFolder,
  options: LoopOptions,
): Promise<boolean> {
  const { schedule, snapshotSteps, snapshotMs } = options;
  const pace = new Pace();
  let savedMs = performance.now();
  const save = async () => {
    if (await folder.save(state, trainer)) await options.onSnapshot();
    savedMs = performance.now();
    pace.pause();
  };
  const isStopped = () => options.signal?.aborted === true || performance.now() >= options.untilMs;
  if (state.stageStep < schedule.steps && !isStopped()) {
    for await (const batch of batches) {
      await takeStep(trainer, batch, state, folder, options, pace);
      if (state.stageStep >= schedule.steps || isStopped()) break;
      const isDue = state.stageStep % snapshotSteps === 0 || performance.now() - savedMs >= snapshotMs;
      if (isDue) await save();
    }
  }
  if (state.step > 0) await save();
  return state.stageStep >= schedule.steps;
}

async function takeStep(
  trainer: Trainer,
  { examples, skipped }: Batch,
  state: RunState,
  folder: RunFolder,
  { schedule, onProgress, onSkipped }: LoopOptions,
  pace: Pace,
): Promise<void> {
  for (const sample of skipped) {
    state.skipped = { ...state.skipped, [sample.code]: (state.skipped[sample.code] ?? 0) + 1 };
    onSkipped(sample);
  }
  const rate = learningRate(schedule, state.stageStep);
  state.step++;
  state.stageStep++;
  if (examples.length === 0) {
    if (state.updates === 0) refuseUseless(skipped, state, schedule.steps);
    return;
  }
  const flopsBefore = trainer.profile.flops;
  const { loss, labels, tokens } = await trainer.gradients(examples);
  const { gradNorm } = await trainer.update(rate);
  state.updates = trainer.optimiser.step;
  const seconds = pace.lap(loss, tokens, trainer.profile.flops - flopsBefore);
  state.tokens += tokens;
  state.seconds += seconds;
  const { step, stage } = state;
  await folder.note({
    step,
    stage,
    loss,
    rate,
    gradNorm,
    tokens,
    labels,
    seconds,
    skipped: skipped.length,
  });
  const secondsPerStep = pace.seconds.value;
  const secondsLeft = (schedule.steps - state.stageStep) * secondsPerStep;
  const { stageStep } = state;
  onProgress({ stage, stageStep, steps: schedule.steps, rate, secondsPerStep, secondsLeft, ...pace.figures });
}

/** Examples at the beginning of a stage that may all be skipped: with more of them, the fault is not theirs. */
const SKIPPED_AT_FIRST = 100;

/** Nothing was learnt in this stage so far: a wrong folder must not end in a model that looks trained. */
function refuseUseless(skipped: readonly Skipped[], { stage, stageStep }: RunState, steps: number): void {
  const seen = stageStep * skipped.length;
  if (seen < SKIPPED_AT_FIRST && stageStep < steps) return;
  const problem = `stage ${stage} has learnt nothing: all of its first ${seen} examples were skipped, the last because ${skipped.at(-1)?.problem}`;
  throw new OryxError("data_invalid", problem, "look at the paths, and at what the recipe allows");
}

/** Time between steps, without that of snapshots, and what is done in it. */
class Pace {
  readonly seconds = new Smoothed(SMOOTHED_OVER);
  readonly #loss = new Smoothed(SMOOTHED_OVER);
  readonly #tokens = new Smoothed(SMOOTHED_OVER);
  readonly #flops = new Smoothed(SMOOTHED_OVER);
  #sinceMs = performance.now();

  /** Ends a step. @returns the seconds since the one before ended */
  lap(loss: number, tokens: number, flops: number): number {
    const seconds = (performance.now() - this.#sinceMs) / 1000;
    this.#sinceMs = performance.now();
    this.seconds.add(seconds);
    this.#loss.add(loss);
    this.#tokens.add(tokens);
    this.#flops.add(flops);
    return seconds;
  }

  /** What was done since the last step counts for none. */
  pause(): void {
    this.#sinceMs = performance.now();
  }

  get figures() {
    const seconds = this.seconds.value;
    return {
      loss: this.#loss.value,
      tokensPerSecond: this.#tokens.value / seconds,
      gflops: this.#flops.value / seconds / 1e9,
    };
  }
}
