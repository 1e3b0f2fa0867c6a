import { join } from "node:path";
import { type Command, Option } from "commander";
import { OryxError } from "../core/errors.ts";
import { count } from "../core/figures.ts";
import { resolveModel } from "../net/hub.ts";
import { hubSettings } from "../net/settings.ts";
import { softwareHash } from "../node/versions.ts";
import type { Machines } from "../recipe/estimate.ts";
import type { Plan } from "../recipe/plan.ts";
import type { Recipe } from "../recipe/recipe.ts";
import type { RunOptions, RunOutcome } from "../recipe/run.ts";
import type { Stage } from "../recipe/schema.ts";
import type { Progress } from "../train/loop.ts";
import { UsageError } from "./failure.ts";
import { number, wholeNumber } from "./numbers.ts";
import { addOutputOptions, threadsOption } from "./options.ts";
import { Exit, type Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";
import { duration, tenths } from "./words.ts";

interface TrainOptions {
  out?: string;
  stage?: string;
  maxMinutes?: number;
  threads?: number;
  dataThreads?: number;
  snapshotSteps?: number;
  snapshotMinutes?: number;
  keep?: number;
  samples: boolean;
  profile?: boolean;
  export?: string;
  dryRun?: boolean;
  machines?: number;
  gflops?: number;
}

const NOTES = `
A recipe is a folder with a recipe.json: a model, where its weights come from, and the stages in which it is
trained. The folder of the run holds snapshots, metrics.jsonl, loss.svg, samples.jsonl and, at the end, the model.

What was interrupted, by Ctrl-C or a kill, goes on at its last snapshot when the same command is given again, and
ends with the same bits on as many threads. Ctrl-C writes a snapshot behind the present step; a second one stops at once.

Examples:
  oryx train recipes/oryx-tiny --dry-run
  oryx train recipes/oryx-tiny --out runs/tiny --max-minutes 60
  oryx train recipes/oryx-tiny --out runs/tiny --export runs/tiny/so-far
  oryx ask --model runs/tiny/model photo.jpg "What is it?"
  oryx train recipes/oryx-7b --dry-run --machines 64 --gflops 400000`;

/** `oryx train RECIPE` */
export function registerTrain(program: Command, shell: Shell): void {
  const command = program
    .command("train")
    .summary("train a model by a recipe")
    .description("Train a model by a recipe, stage by stage, or go on with what was interrupted.")
    .argument("<recipe>", "folder of a recipe.json, or such a file");
  command.optionsGroup("Run:");
  command
    .option("--out <dir>", "folder of the run (default: runs/NAME)")
    .option("--stage <name>", "stop behind this stage")
    .option(
      "--max-minutes <n>",
      "stop, with a snapshot, after so many minutes",
      number({ from: 0, above: true, to: 1e6 }),
    )
    .addOption(threadsOption())
    .option("--data-threads <n>", "threads that prepare examples (default: 1)", wholeNumber(0, 256))
    .option("--snapshot-steps <n>", "a snapshot at every so many steps (default: 200)", wholeNumber(1, 1e9))
    .option(
      "--snapshot-minutes <n>",
      "and after so many minutes (default: 10)",
      number({ from: 0, above: true, to: 1e6 }),
    )
    .option("--keep <n>", "snapshots that are kept (default: 2)", wholeNumber(1, 1000))
    .option("--no-samples", "ask the model nothing at snapshots")
    .option("--profile", "tell at the end what the time went to")
    .option(
      "--export <dir>",
      "train nothing: write the model as it is in the last snapshot, also while the run goes on",
    );
  command.optionsGroup("Plan:");
  command
    .option("--dry-run", "train nothing: tell parameters, steps, memory and time of each stage")
    .option("--machines <n>", "machines that share the work (default: 1)", wholeNumber(1, 1e6))
    .addOption(
      new Option("--gflops <n>", "speed of a machine, in 10^9 operations a second").argParser(
        number({ from: 0, above: true, to: 1e12 }),
      ),
    );
  addOutputOptions(command, "print plan, or outcome, as one JSON object");
  command
    .addHelpText("after", shell.helpNotes(NOTES))
    .action((where: string, options: TrainOptions) => train(where, options, shell));
}

async function train(where: string, options: TrainOptions, shell: Shell): Promise<void> {
  checkOptions(options);
  const { readRecipe } = await import("../recipe/recipe.ts");
  const recipe = await readRecipe(where);
  if (options.dryRun) return plan(recipe, options, shell);
  const out = options.out ?? join("runs", recipe.name);
  if (options.export !== undefined) return exportLast(recipe, out, options.export, options, shell);
  // Two runs in one folder would overwrite each other's snapshots.
  const { withLock } = await import("../files/lock.ts");
  const { makeFolder, onDisk } = await import("../files/disk.ts");
  await onDisk(`make ${out}`, () => makeFolder(out), "give another folder with --out");
  await withLock(join(out, "train.lock"), { held: "another training runs here" }, () =>
    run(recipe, out, options, shell),
  );
}

function checkOptions({ dryRun, machines, gflops, export: exported, stage }: TrainOptions): void {
  if (exported !== undefined && stage !== undefined) {
    throw new UsageError("--stage does not go with --export", "what the last snapshot holds is exported");
  }
  if (!dryRun && (machines !== undefined || gflops !== undefined)) {
    throw new UsageError("--machines and --gflops go with --dry-run only", "a run uses this machine");
  }
  if (dryRun && exported !== undefined)
    throw new UsageError("--export does not go with --dry-run", "leave one out");
}

async function plan(recipe: Recipe, options: TrainOptions, shell: Shell): Promise<void> {
  const { planRecipe } = await import("../recipe/plan.ts");
  const { stagesUntil } = await import("../recipe/recipe.ts");
  const { planTable } = await import("./train-table.ts");
  const machines = await machinesOf(options);
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  const stages = stagesUntil(recipe, options.stage);
  const onStage = ({ name }: Stage) => line.show(`looking at examples of stage ${name}`, true);
  const planned = await planRecipe(recipe, stages, machines, resolver(shell), onStage).finally(() =>
    line.clear(),
  );
  if (shell.json) shell.printJson(planned);
  else shell.print(`${planTable(planned)}\n`);
}

/** This machine as a run would use it; many, which are not known, as if each ran the model once at a time. */
async function machinesOf({ machines, threads, gflops }: TrainOptions): Promise<Machines> {
  const { shareOut } = await import("../train/lanes.ts");
  const { nativeCallsAtOnce, physicalCores } = await import("../runtime/node/runtime.ts");
  const { lanes } = shareOut(threads ?? physicalCores(), nativeCallsAtOnce());
  return {
    count: machines ?? 1,
    lanes: machines === undefined ? lanes : 1,
    operationsPerSecond: gflops === undefined ? undefined : 1e9 * gflops,
  };
}

async function run(recipe: Recipe, out: string, options: TrainOptions, shell: Shell): Promise<void> {
  const { runRecipe } = await import("../recipe/run.ts");
  const { sampler } = await import("./train-sample.ts");
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  const say = (text: string) => {
    line.clear();
    shell.note(text);
  };
  const sample = sampler(recipe, out, options.threads, say);
  line.show(`opening ${recipe.name}`, true);
  let told = "";
  try {
    const { secondsLeftOf } = await import("../recipe/plan.ts");
    let plan: Plan | undefined;
    let planned: Promise<Plan | undefined> | undefined;
    const outcome = await runRecipe(recipe, {
      ...runOptions(out, options, shell),
      onStage: async (stage) => {
        if (planned === undefined) line.show("looking at examples of what follows", true);
        planned ??= planAhead(recipe, options, stage, shell, say);
        plan = await planned;
        line.show(`opening the data of stage ${stage.name}`, true);
      },
      onProgress: (progress) => {
        const allS = plan && plan.stages.length > 1 ? secondsLeftOf(plan, progress) : undefined;
        told = progressLine(progress, allS);
        line.show(told);
      },
      onNote: say,
      onSkipped: ({ code, problem }) => say(`skipped (${code}): ${problem}`),
      onSnapshot: async (moment) => {
        if (told !== "") say(told); // what stays for those who read a log
        if (!options.samples) return;
        line.show("asking the model as it is", true);
        await sample(moment);
      },
      onExport: () => line.show("writing the model", true),
    });
    line.clear();
    tell(outcome, out, options, shell);
    if (!outcome.done && shell.signal.aborted) throw new Exit(130);
  } finally {
    line.clear();
  }
}

function runOptions(out: string, options: TrainOptions, shell: Shell): RunOptions {
  const { maxMinutes, snapshotMinutes, stage } = options;
  return {
    out,
    resolve: resolver(shell),
    release: softwareHash(),
    threads: options.threads,
    dataThreads: options.dataThreads,
    lastStage: stage,
    signal: shell.signal,
    maxMs: maxMinutes === undefined ? undefined : 60_000 * maxMinutes,
    snapshotSteps: options.snapshotSteps,
    snapshotMs: snapshotMinutes === undefined ? undefined : 60_000 * snapshotMinutes,
    keep: options.keep,
  };
}

async function exportLast(
  recipe: Recipe,
  out: string,
  dir: string,
  options: TrainOptions,
  shell: Shell,
): Promise<void> {
  const { exportRun } = await import("../recipe/run.ts");
  const onNote = (text: string) => shell.note(text);
  const { step, stage } = await exportRun(recipe, dir, { ...runOptions(out, options, shell), onNote });
  shell.note(`exported: step ${count(step)}, stage ${stage}`);
  if (shell.json) shell.printJson({ model: dir, step, stage });
  else shell.print(`${dir}\n`);
}

function resolver(shell: Shell): (where: string) => Promise<string> {
  return (where) => resolveModel(where, hubSettings(shell.io.env));
}

/**
 * What the stages from one on take, to tell when all will be done. Says which examples will be skipped. Nothing where it
 * cannot be known, which is said too: that is no reason not to train.
 */
async function planAhead(
  recipe: Recipe,
  options: TrainOptions,
  present: Stage,
  shell: Shell,
  say: (text: string) => void,
): Promise<Plan | undefined> {
  const { planRecipe } = await import("../recipe/plan.ts");
  const { stagesUntil } = await import("../recipe/recipe.ts");
  const { skipLine } = await import("./train-table.ts");
  const stages = stagesUntil(recipe, options.stage);
  const ahead = stages.slice(stages.indexOf(present));
  try {
    const plan = await planRecipe(recipe, ahead, await machinesOf(options), resolver(shell));
    for (const skips of plan.skips) say(`note: ${skipLine(skips)}`);
    return plan;
  } catch (error) {
    if (!(error instanceof OryxError)) throw error;
    say(`note: what follows could not be planned: ${error.message}`);
    return undefined;
  }
}

/** "stage 1b · step 120 of 1,000 · loss 1.234 · 12 min 3 s left, in all 1 h 5 min · 2,345 tokens/s · 61 GFLOP/s" */
function progressLine(progress: Progress, allS: number | undefined): string {
  const { stage, stageStep, steps, loss, tokensPerSecond, gflops, secondsLeft } = progress;
  const all = allS === undefined ? "" : `, in all ${duration(allS)}`;
  const left = `${duration(secondsLeft)} left${all}`;
  const speed = `${count(tokensPerSecond)} tokens/s · ${gflops.toFixed(0)} GFLOP/s`;
  return `stage ${stage} · step ${count(stageStep)} of ${count(steps)} · loss ${loss.toFixed(3)} · ${left} · ${speed}`;
}

function tell(outcome: RunOutcome, out: string, { profile: wanted }: TrainOptions, shell: Shell): void {
  const { done, state, model, profile } = outcome;
  const { step, stage, stageStep, tokens, seconds, skipped } = state;
  const total = `${count(step)} steps, ${count(tokens)} tokens in ${duration(seconds)}`;
  const faults = Object.entries(skipped).map(([code, n]) => `${count(n)} ${code}`);
  if (faults.length > 0) shell.note(`skipped: ${faults.join(", ")}`);
  if (wanted && profile) {
    const phases = Object.entries(profile.ms).map(([phase, ms]) => `${phase} ${tenths(ms / 1000)} s`);
    shell.note(`stage ${stage}: ${phases.join(", ")}; ${profile.gflops.toFixed(1)} GFLOP/s`);
  }
  shell.note(
    done
      ? `done: ${total}`
      : `stopped in stage ${stage} behind step ${count(stageStep)}: ${total}; give the same command again to go on`,
  );
  const figures = wanted && profile ? { profile: { ms: profile.ms, gflops: profile.gflops } } : {};
  if (shell.json)
    shell.printJson({ out, done, model: model ?? null, step, stage, tokens, seconds, skipped, ...figures });
  else shell.print(`${model ?? out}\n`);
}
