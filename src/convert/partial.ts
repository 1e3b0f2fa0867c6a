import { lstat, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { OryxError, quote } from "../core/errors.ts";
import { makeFolder, onDisk } from "../files/disk.ts";
import { CONVERTED_FILES, MANIFEST_FILE } from "../weights/converted.ts";
import type { Disk } from "./disk.ts";
import { JOURNAL_FILE, Journal, type Notes, readJournal } from "./journal.ts";
import type { CopiedFile } from "./origin.ts";
import type { Plan } from "./plan.ts";
import { placesOf, type Task } from "./work.ts";

/** A converted folder in the making. */
export interface PartialFolder {
  journal: Journal;
  tasks: Task[];
  /** An earlier run had begun this, but of another source or with other options, so nothing of it serves. */
  isAnew: boolean;
}

/** What is written besides the weights, at most: the journal and the manifest of a 34B model are under 1 MB. */
const SPARE_BYTES = 8_000_000;

/**
 * Opens the folder in which a conversion goes on, or begins: every weight file is there in its full size, with
 * its header.
 * @throws OryxError `disk` when it is not a folder that a conversion left, or when there is not enough space
 */
export async function openPartial(
  dir: string,
  plan: Plan,
  copies: readonly CopiedFile[],
  fingerprint: string,
  disk: Disk,
): Promise<PartialFolder> {
  const found = await requireOurs(dir, copies);
  let notes = await readJournal(join(dir, JOURNAL_FILE));
  const isAnew = notes !== undefined && notes.fingerprint !== fingerprint;
  if (notes?.fingerprint !== fingerprint) {
    for (const name of found) await onDisk(`empty ${dir}`, () => rm(join(dir, name)));
    notes = undefined;
  }
  await requireSpace(dir, plan, copies, disk);
  await onDisk(`make ${dir}`, () => makeFolder(dir));
  // The journal comes first: files without one would be taken for those of another conversion.
  const journal = await Journal.open(disk, join(dir, JOURNAL_FILE), fingerprint, notes?.end ?? 0);
  try {
    for (const { name, header, bytes } of plan.files) {
      const file = await disk.open(join(dir, name));
      try {
        await file.write(header, 0);
        await file.resize(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
    }
  } catch (error) {
    await journal.close();
    throw error;
  }
  return { journal, tasks: plan.jobs.map((job) => taskOf(job, notes)), isAnew };
}

/** A job with what was noted of it, if that is of just the tensors that it makes. */
function taskOf(job: Task["job"], notes: Notes | undefined): Task {
  const noted = notes?.jobs.get(job.name);
  if (noted === undefined) return { job };
  const names = placesOf(job).map(({ name }) => name);
  const isWhole =
    Object.keys(noted.hashes).length === names.length && names.every((name) => name in noted.hashes);
  return isWhole ? { job, noted } : { job };
}

/** Names in the folder, if it is there. One that has anything else in it than ours is not for us to empty. */
async function requireOurs(dir: string, copies: readonly CopiedFile[]): Promise<string[]> {
  if (!(await lstat(dir).catch(() => undefined))) return [];
  const ours = new Set<string>([JOURNAL_FILE, MANIFEST_FILE, ...Object.values(CONVERTED_FILES)]);
  for (const { name } of copies) ours.add(name);
  const names = await onDisk(`read ${dir}`, () => readdir(dir));
  const strange = names.find((name) => !ours.has(name));
  if (strange === undefined) return names;
  const problem = `${dir} holds ${quote(strange)}, which no conversion has put there`;
  throw new OryxError("disk", problem, "move it away, or convert into another folder");
}

/** What files take already counts as theirs. */
async function requireSpace(
  dir: string,
  plan: Plan,
  copies: readonly CopiedFile[],
  disk: Disk,
): Promise<void> {
  let needed = SPARE_BYTES;
  for (const { bytes } of copies) needed += bytes;
  for (const { name, bytes } of plan.files) {
    const found = await stat(join(dir, name)).catch(() => undefined);
    needed += Math.max(0, bytes - 512 * (found?.blocks ?? 0));
  }
  const free = await disk.freeBytes(dirname(dir));
  if (needed <= free) return;
  const problem = `the converted model needs ${needed} more bytes, and ${dirname(dir)} has ${free} free`;
  throw new OryxError("disk", problem, "free some space, or convert into a folder on a larger disk");
}
