import { type Command, Option } from "commander";
import { OryxError } from "../core/errors.ts";
import type { Device } from "../runtime/session.ts";
import type { VerifyReport } from "../verify/report.ts";
import { wholeNumber } from "./numbers.ts";
import { addOutputOptions } from "./options.ts";
import { Exit, type Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";

interface VerifyCommandOptions {
  device?: Device;
  threads?: number;
  only?: string;
  thorough?: boolean;
  model?: string;
}

const NOTES = `
The folder holds a model and what an independent program computed with it: cases.json, expected.safetensors, media/.
Pixels and tokens must be the same, every later stage within a relative error of 1e-4.

Examples:
  oryx verify test/fixtures/oryx-qwen-tiny
  oryx verify golden/ --only video --thorough
  oryx verify golden/ --model converted/`;

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
    .option("--only <case>", "only the case of this name")
    .option("--thorough", "also generate in small chunks and without a cache, and compare the tokens")
    .addOption(new Option("--device <name>", "where to compute (default: cpu)").choices(["cpu", "webgpu"]))
    .option("--threads <n>", "threads of the CPU (default: its cores)", wholeNumber(1, 1024));
  addOutputOptions(command, "print every check as one JSON object");
  command
    .addHelpText("after", NOTES)
    .action((dir: string, { model, ...options }: VerifyCommandOptions) =>
      model === undefined ? verifyFolder(dir, options, shell) : compareModels(dir, model, options, shell),
    );
}

async function compareModels(
  dir: string,
  model: string,
  options: VerifyCommandOptions,
  shell: Shell,
): Promise<void> {
  const { agreement } = await import("../verify/agreement.ts");
  const { device, threads, only } = options;
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
    if (shell.json) return shell.printJson(report);
    const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
    for (const { of, same, places, logitsError } of report.cases) {
      const tokens = `${percent(same / places).padStart(6)} of ${places} tokens`;
      shell.print(`${of.padEnd(12)} ${tokens}, logits differ by ${percent(logitsError)}\n`);
    }
    shell.print(`the same most likely token in ${percent(report.top1)} of all places\n`);
  } finally {
    line.clear();
  }
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
    if (shell.json) {
      // One object, so the error stands in it.
      shell.printJson({ ...report, ...(failure && { error: failure }) });
      if (failure) throw new Exit(1);
    } else {
      shell.print(`${reportTable(report)}\n`);
      if (failure) throw new OryxError(failure.code, failure.message, failure.remedy);
    }
  } finally {
    line.clear();
  }
}

function failed({ checks }: VerifyReport) {
  const count = checks.filter((c) => !c.passed).length;
  return {
    code: "verify_failed",
    message: `${count} of ${checks.length} checks failed`,
    remedy: "look at the first check that failed: later stages compute from earlier ones",
  } as const;
}
