import type { Command } from "commander";
import type { PullProgress } from "../net/hub.ts";
import { hubSettings } from "../net/settings.ts";
import { addOutputOptions } from "./options.ts";
import type { Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";
import { byteCount, timeLeft } from "./words.ts";

interface PullCommandOptions {
  revision?: string;
  cacheDir?: string;
}

const NOTES = `
The cache is the one of Python's huggingface_hub. Environment: HF_TOKEN, HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_HUB_OFFLINE.

Example:
  oryx pull ORG/NAME
  oryx ask --model ORG/NAME photo.jpg "What is it?"`;

/** `oryx pull ORG/NAME` */
export function registerPull(program: Command, shell: Shell): void {
  const command = program
    .command("pull")
    .summary("download a model from the hub")
    .description(
      "Download a model from the hub into the cache, and print its folder. What is there already is not fetched again.",
    )
    .argument("<model>", "ORG/NAME or ORG/NAME@REVISION")
    .option("--revision <name>", "branch, tag or commit (default: main)")
    .option("--cache-dir <folder>", "where to keep it (default: the hub's own cache)");
  addOutputOptions(command, "print folder, commit and files as one JSON object");
  command
    .addHelpText("after", shell.helpNotes(NOTES))
    .action((id: string, options: PullCommandOptions) => pullModel(id, options, shell));
}

async function pullModel(id: string, options: PullCommandOptions, shell: Shell): Promise<void> {
  const settings = { ...hubSettings(shell.io.env), ...options };
  const line = new StatusLine(shell.io.stderr, shell.isWatched);
  line.show(`asking ${settings.endpoint}`, true);
  const { pull } = await import("../net/hub.ts");
  try {
    const pulled = await pull(id, { ...settings, signal: shell.signal, onProgress: downloadProgress(line) });
    line.clear();
    if (shell.json) shell.printJson(pulled);
    else shell.print(`${pulled.path}\n`);
  } finally {
    line.clear();
  }
}

/** Adds up the files: those that have begun, as the hub has told of no others yet. */
function downloadProgress(line: StatusLine): (progress: PullProgress) => void {
  const startMs = performance.now();
  const files = new Map<string, { had: number; done: number; total: number }>();
  return ({ file, bytesDone, bytesTotal }) => {
    const isNew = !files.has(file);
    const { had } = files.get(file) ?? { had: bytesDone };
    files.set(file, { had, done: bytesDone, total: bytesTotal });
    const sum = { had: 0, done: 0, total: 0 };
    for (const { had, done, total } of files.values()) {
      sum.had += had;
      sum.done += done;
      sum.total += total;
    }
    const left = timeLeft(sum.done - sum.had, sum.total - sum.had, performance.now() - startMs);
    const sums = `${byteCount(sum.done)} of ${byteCount(sum.total)} in all`;
    line.show(`${file}: ${byteCount(bytesDone)} · ${sums}${left}`, isNew);
  };
}
