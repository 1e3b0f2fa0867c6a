import { type Command, Option } from "commander";
import { OryxError } from "../core/errors.ts";
import { percent } from "../core/figures.ts";
import type { Device } from "../runtime/session.ts";
import type { AgreementReport } from "../verify/agreement.ts";
import type { VerifyReport } from "../verify/report.ts";
import type { TrainReport } from "../verify/train.ts";
import { UsageError } from "./failure.ts";
import { number } from "./numbers.ts";
import { addOutputOptions, threadsOption } from "./options.ts";
import { Exit, type Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";
import { tenths } from "./words.ts";

interface VerifyCommandOptions {
  device?: Device;
  threads?: number;
  only?: string;
  thorough?: boolean;
  train?: boolean;
  model?: string;
  atLeast?: number;
}

const NOTES = `
The folder holds a model and what an independent program computed with it: cases.json, expected.safetensors, media/.
Pixels and tokens must be the same, every later stage within a relative error of 1e-4.
With --train, the model learns what train_cases.json says, and losses and gradients are compared: losses must be within
1e-4, norms of gradients within 1e-3 (or a millionth of the norm of all, where the maths says zero).
With --model, how often both name the same most likely token is told, and fails only below --at-least.

Examples:
  oryx verify test/fixtures/oryx-qwen-tiny
  oryx verify golden/ --only video --thorough
  oryx verify golden/ --train
  oryx verify golden/ --model converted/ --at-least 90`;

/** `oryx verify DIR` */
export function registerVerify(program: Command, shell: Shell): void {
  const command = program
    .command("verify")
    .summary("compare every stage of a model with a reference")
    .description(
      "Run a model on the cases beside it, and compare every stage with what a reference computed.",
    )
    .argument("<dir>", "a model's folder with a reference in it")
    .option(
      "--model <dir>",
      "instead: how often another form of the model, a converted one say, says the same",
    )
    .option(
      "--at-least <percent>",
      "with --model: fail when fewer tokens agree (default: exit with 0 however few do)",
      number({ from: 0, to: 100 }),
    )
    .option("--train", "instead: train as the reference did, and compare losses and gradients")
    .option("--only <case>", "only the case of this name, or with --train only that setting")
    .option("--thorough", "also generate in small chunks and without a cache, and compare the tokens")
    .addOption(new Option("--device <name>", "where to compute (default: cpu)").choices(["cpu", "webgpu"]))
    .addOption(threadsOption());
  addOutputOptions(command, "print every check as one JSON object");
  command
    .addHelpText("after", shell.helpNotes(NOTES))
    .action(async (dir: string, options: VerifyCommandOptions) => {
      const { model, thorough, atLeast, train } = options;
      if (train) {
        if (model !== undefined || thorough || atLeast !== undefined) {
          const problem = "--train does not go with --model, --at-least or --thorough";
          throw new UsageError(problem, "leave them out");
        }
        return verifyTrain(dir, options, shell);
      }
      if (model !== undefined) {
        if (thorough) throw new UsageError("--thorough does not go with --model", "leave one of them out");
        return compareModels(dir, model, options, shell);
      }
      if (atLeast !== undefined) throw new UsageError("--at-least goes with --model only", "name a model");
      return verifyFolder(dir, options, shell);
    });
}

async function compareModels(
  dir: string,
  model: string,
  options: VerifyCommandOptions,
  shell: Shell,
): Promise<void> {
  const { agreement } = await import("../verify/agreement.ts");
  const { device, threads, only, atLeast = 0 } = options;
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  line.show("computing both", true);
  try {
    const report = await agreement(dir, model, {
      ...(device && { device }),
      ...(threads && { threads }),
      ...(only !== undefined && { only }),
      signal: shell.signal,
    });
    line.clear();
    const failure = 100 * report.top1 < atLeast ? disagrees(report, atLeast) : undefined;
    tell(report, agreementTable(report), failure, shell);
  } finally {
    line.clear();
  }
}

function agreementTable({ cases, top1 }: AgreementReport): string {
  const rows = cases.map(({ of, same, places, logitsError }) => {
    const tokens = `${percent(same / places).padStart(6)} of ${places} tokens`;
    return `${of.padEnd(12)} ${tokens}, logits differ by ${percent(logitsError)}`;
  });
  return [...rows, `the same most likely token in ${percent(top1)} of all places`].join("\n");
}

function disagrees({ model, top1 }: AgreementReport, atLeast: number): VerifyFailure {
  return {
    code: "verify_failed",
    message: `${model} names the same most likely token in ${percent(top1)} of all places, not in ${atLeast}%`,
    remedy: "convert with --weights w8, or --keep what loses most (oryx info tells)",
  };
}

async function verifyFolder(dir: string, options: VerifyCommandOptions, shell: Shell): Promise<void> {
  const { device, threads, only, thorough } = options;
  const { verify } = await import("../verify/verify.ts");
  const { reportTable } = await import("../verify/report.ts");
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  try {
    line.show("loading", true);
    const report = await verify(dir, {
      ...(device && { device }),
      ...(threads && { threads }),
      ...(only !== undefined && { only }),
      thorough: thorough ?? false,
      signal: shell.signal,
      onCase: (name, checks) => line.show(`${name}: ${checks.length} checks`, true),
    });
    line.clear();
    const failure = report.passed ? undefined : failed(report);
    tell({ ...report, totalMs: tenths(report.totalMs) }, reportTable(report), failure, shell);
  } finally {
    line.clear();
  }
}

async function verifyTrain(dir: string, options: VerifyCommandOptions, shell: Shell): Promise<void> {
  const { device, threads, only } = options;
  const { trainTable, verifyTraining } = await import("../verify/train.ts");
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  try {
    line.show("loading", true);
    const report = await verifyTraining(dir, {
      ...(device && { device }),
      ...(threads && { threads }),
      ...(only !== undefined && { only }),
      signal: shell.signal,
      onSetting: (name) => line.show(`training: ${name}`, true),
    });
    line.clear();
    const failure = report.passed ? undefined : failed(report);
    tell({ ...report, totalMs: tenths(report.totalMs) }, trainTable(report), failure, shell);
  } finally {
    line.clear();
  }
}

/** What a verdict says when it is not good. */
interface VerifyFailure {
  code: "verify_failed";
  message: string;
  remedy: string;
}

/** Prints a report; a failure ends the command with 1. */
function tell(report: object, table: string, failure: VerifyFailure | undefined, shell: Shell): void {
  if (shell.json) {
    // One object, so the error stands in it.
    shell.printJson({ ...report, ...(failure && { error: failure }) });
    if (failure) throw new Exit(1);
  } else {
    shell.print(`${table}\n`);
    if (failure) throw new OryxError(failure.code, failure.message, failure.remedy);
  }
}

function failed({ checks }: Pick<VerifyReport | TrainReport, "checks">): VerifyFailure {
  const count = checks.filter((c) => !c.passed).length;
  return {
    code: "verify_failed",
    message: `${count} of ${checks.length} checks failed`,
    remedy: "look at the first check that failed: later stages compute from earlier ones",
  };
}
