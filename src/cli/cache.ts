import type { Command } from "commander";
import { count } from "../core/figures.ts";
import { LIMITS } from "../core/limits.ts";
import type { CacheKind } from "../engine/cache.ts";
import { mediaCacheDir } from "../node/cache-dir.ts";
import type { CacheEntry } from "../node/cache-folder.ts";
import { UsageError } from "./failure.ts";
import { addOutputOptions } from "./options.ts";
import type { Shell } from "./shell.ts";
import { byteCount } from "./words.ts";

interface CacheCommandOptions {
  dir?: string;
}

const NOTES = `
What a model has made of an image or video is kept, so that a further question about it, by another process too,
skips decoding, encoding and reading it: features of the frames, and keys and values of the prompt up to the question.
They are found by the content of the file, not by its name, and by the model. What was used longest ago goes when
${byteCount(LIMITS.cacheBytes)} are full.

Features are made from pictures, and some of what a picture shows can be told from them. They stay on this machine, in
a folder that only you can read. --no-cache keeps nothing of a request; ORYX_CACHE=off keeps nothing at all;
oryx cache clear removes what there is. ORYX_CACHE_DIR names another folder.`;

/** `oryx cache ls|clear` */
export function registerCache(program: Command, shell: Shell): void {
  const cache = program
    .command("cache")
    .summary("what is kept of images and videos")
    .description("Show or remove what is kept of images and videos for further questions.")
    .addHelpText("after", shell.helpNotes(NOTES));
  const verb = (name: string, description: string, json: string) => {
    const command = cache
      .command(name)
      .description(description)
      .option("--dir <folder>", "the cache's folder (default: ORYX_CACHE_DIR, else the system's for caches)");
    addOutputOptions(command, json);
    return command.addHelpText("after", shell.helpNotes(NOTES));
  };
  verb("ls", "List what is kept, last used first.", "print folder and entries as one JSON object").action(
    (options: CacheCommandOptions) => listCache(options, shell),
  );
  verb("clear", "Remove all that is kept.", "print what was removed as one JSON object").action(
    (options: CacheCommandOptions) => clearCache(options, shell),
  );
}

async function listCache(options: CacheCommandOptions, shell: Shell): Promise<void> {
  const folder = await folderOf(options, shell);
  const entries = await folder.list();
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  if (shell.json) shell.printJson({ dir: folder.dir, bytes, maxBytes: LIMITS.cacheBytes, entries });
  else shell.print(listing(folder.dir, entries, bytes));
}

async function clearCache(options: CacheCommandOptions, shell: Shell): Promise<void> {
  const folder = await folderOf(options, shell);
  const { entries, bytes } = await folder.clear();
  if (shell.json) shell.printJson({ dir: folder.dir, entries, bytes });
  else shell.print(`${folder.dir}: ${entriesWord(entries)} removed, ${byteCount(bytes)}\n`);
}

async function folderOf({ dir }: CacheCommandOptions, shell: Shell) {
  const { CacheFolder } = await import("../node/cache-folder.ts");
  const found = dir ?? mediaCacheDir(shell.io.env);
  if (found === undefined) throw new UsageError("ORYX_CACHE is off: nothing is kept", "name a folder: --dir");
  return new CacheFolder(found, LIMITS.cacheBytes);
}

const WHAT: Readonly<Record<CacheKind, string>> = {
  features: "features of an image or video",
  kv: "keys and values of a prompt",
  hash: "hash of a file",
  speed: "speed of a model on this machine",
};

/** Hashes of files are many and small: they are counted, the rest is listed. */
function listing(dir: string, entries: readonly CacheEntry[], bytes: number): string {
  const shown = entries.filter(({ kind }) => kind !== "hash");
  const rows = shown.map((entry) => {
    const used = entry.usedAt.toISOString().slice(0, 16).replace("T", " ");
    return `${used}  ${byteCount(entry.bytes).padStart(9)}  ${WHAT[entry.kind]} ${entry.digest.slice(0, 12)}\n`;
  });
  const hashes = entries.length - shown.length;
  const rest = hashes > 0 ? `${count(hashes)} hashes of files\n` : "";
  const sum = `${dir}: ${entriesWord(entries.length)}, ${byteCount(bytes)} of at most ${byteCount(LIMITS.cacheBytes)}\n`;
  return rows.join("") + rest + sum;
}

const entriesWord = (n: number): string => (n === 1 ? "1 entry" : `${count(n)} entries`);
