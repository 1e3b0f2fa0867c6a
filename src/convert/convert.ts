import { randomUUID } from "node:crypto";
import { lstat, readFile, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { makeFolder, onDisk, replaceFolder } from "../files/disk.ts";
import { withLock } from "../files/lock.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { FORMAT_VERSION, hashFile, isConverted, MANIFEST_FILE, type Manifest } from "../weights/converted.ts";
import type { Int4Block } from "../weights/quantise.ts";
import { blockOfShape, partOf, type Storage } from "../weights/quantised.ts";
import { runUnits } from "./crew.ts";
import { type Disk, fileSystem } from "./disk.ts";
import { JOURNAL_FILE } from "./journal.ts";
import type { Place } from "./layout.ts";
import { type CopiedFile, filesToCopy, fingerprint, sourceOf } from "./origin.ts";
import { openPartial } from "./partial.ts";
import { type Plan, planConversion, type StorageOptions } from "./plan.ts";
import { placesOf, type Task, type TaskResult } from "./work.ts";

export interface ConvertProgress {
  /** Bytes of the source that were gone through, those of an earlier run included. */
  bytesDone: number;
  bytesTotal: number;
  /** Of those, bytes that an earlier run had converted. */
  bytesBefore: number;
}

export interface ConvertOptions extends StorageOptions {
  /** Default: the machine's cores, at most 8, since each thread takes about 150 MB. */
  threads?: number;
  /** A converted model that is there already is replaced, once the new one is complete. */
  force?: boolean;
  /** Where the vision tower is when it is not in the source's folder. */
  visionTower?: string;
  signal?: AbortSignal;
  onProgress?: (progress: ConvertProgress) => void;
  /** Told once what an earlier run has left, before work begins. */
  onResume?: (state: { isAnew: boolean; tensorsBefore: number }) => void;
  /** What files are written through; tests hand in one that fails. */
  disk?: Disk;
}

export interface Conversion {
  /** The converted folder. */
  path: string;
  manifest: Manifest;
  /** Bytes of all its files. */
  bytes: number;
  /** What was decided otherwise than asked. */
  notes: string[];
  /** Matrices that lost more to rounding than is usual for trained weights, the worst first. */
  coarse: { name: string; error: number }[];
  /** Source tensors that an earlier run had converted and that were still intact. */
  resumed: number;
}

/**
 * Rounding errors that deserve a word: normally distributed weights lose 8.5, 9.1 and 9.7% to int4 in these blocks, and
 * 1% to int8, so more means outliers.
 */
const COARSE_INT4: Readonly<Record<Int4Block, number>> = { 32: 0.12, 64: 0.13, 128: 0.14 };
const COARSE_INT8 = 0.02;
/** Small tensors are done together, so that not each has to wait for the disk; but a kill costs no more than that. */
const UNIT_BYTES = 32 * 2 ** 20;
/** So that a small model too is shared between threads. */
const LEAST_UNITS = 16;
const MOST_THREADS = 8;

/**
 * Converts a published model folder into one with quantised (or other) weights. It grows in `OUT.partial` and gets
 * its name when it is complete. What was stopped, by anything, goes on from there when it is started again with the
 * same options: every tensor that was done is hashed before it counts. The result depends on nothing but source
 * and options.
 * @param src model folder as published
 * @param out the folder to make
 * @throws OryxError `bad_option`; as `openCheckpoint` of the source; `disk`, `locked`, `aborted`
 */
export async function convert(src: string, out: string, options: ConvertOptions): Promise<Conversion> {
  const { visionTower, disk = fileSystem } = options;
  const place = resolve(out);
  const checkpoint = await openCheckpoint(resolve(src), visionTower === undefined ? {} : { visionTower });
  if (checkpoint.manifest) {
    const problem = `${src} is converted already (${checkpoint.manifest.weights})`;
    throw new OryxError("bad_option", problem, "give the folder of the model as it was published");
  }
  const plan = planConversion(checkpoint, options);
  await onDisk(`make ${dirname(place)}`, () => makeFolder(dirname(place)));
  return withLock(`${place}.lock`, { held: "another conversion is writing here" }, async () => {
    await checkPlace(place, options.force ?? false);
    return convertLocked(checkpoint, plan, place, options, disk);
  });
}

async function convertLocked(
  checkpoint: Checkpoint,
  plan: Plan,
  out: string,
  options: ConvertOptions,
  disk: Disk,
): Promise<Conversion> {
  const dir = `${out}.partial`;
  const copies = await filesToCopy(checkpoint.dir);
  const print = await fingerprint(checkpoint, copies, plan, options);
  const { journal, tasks, isAnew } = await openPartial(dir, plan, copies, print, disk);
  const results = new Map<string, TaskResult>();
  try {
    options.onResume?.({ isAnew, tensorsBefore: tasks.filter(({ noted }) => noted).length });
    await runUnits(unitsOf(tasks), {
      dir,
      disk,
      threads: options.threads ?? Math.min(MOST_THREADS, availableParallelism()),
      signal: options.signal,
      onProgress: progressOf(tasks, options.onProgress),
      async onDone(done) {
        for (const result of done) results.set(result.name, result);
        await journal.note(done.filter(({ wasThere }) => !wasThere));
      },
    });
  } finally {
    await journal.close();
  }
  throwIfAborted(options.signal);
  const manifest = await complete(dir, { checkpoint, plan, copies, options, results, disk });
  await putInPlace(dir, out);
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const resumed = [...results.values()].filter(({ wasThere }) => wasThere).length;
  return { path: out, manifest, bytes, notes: plan.notes, coarse: coarse(plan, manifest), resumed };
}

/** The largest first, so that threads end together; small ones in groups. */
function unitsOf(tasks: readonly Task[]): Task[][] {
  const bytesOf = ({ job }: Task) => job.source.bytes.byteLength;
  const total = tasks.reduce((sum, task) => sum + bytesOf(task), 0);
  const units: Task[][] = [];
  let room = 0;
  for (const task of [...tasks].sort((a, b) => bytesOf(b) - bytesOf(a))) {
    if (bytesOf(task) > room) {
      units.push([]);
      room = Math.min(UNIT_BYTES, total / LEAST_UNITS);
    }
    units.at(-1)?.push(task);
    room -= bytesOf(task);
  }
  return units;
}

function progressOf(tasks: readonly Task[], tell: ConvertOptions["onProgress"]) {
  const bytesTotal = tasks.reduce((sum, { job }) => sum + job.source.bytes.byteLength, 0);
  let [bytesDone, bytesBefore] = [0, 0];
  return (bytes: number, wasThere: boolean) => {
    bytesDone += bytes;
    if (wasThere) bytesBefore += bytes;
    tell?.({ bytesDone, bytesTotal, bytesBefore });
  };
}

/** All that {@link complete} puts into the folder, or says of it. */
interface Parts {
  checkpoint: Checkpoint;
  plan: Plan;
  copies: readonly CopiedFile[];
  options: StorageOptions;
  results: ReadonlyMap<string, TaskResult>;
  disk: Disk;
}

/** Adds what is not weights, and the manifest last. */
async function complete(dir: string, parts: Parts): Promise<Manifest> {
  const { checkpoint, plan, copies, options, results, disk } = parts;
  const files: Manifest["files"] = plan.files.map(({ name, bytes }) => ({ name, bytes }));
  for (const { name, path } of copies) {
    const bytes = await onDisk(`read ${path}`, () => readFile(path));
    await writeWhole(disk, join(dir, name), bytes);
    const sha256 = (await hashFile(join(dir, name), bytes.length)) as string;
    files.push({ name, bytes: bytes.length, sha256 });
  }
  const { weights, vision, keep } = options;
  const manifest: Manifest = {
    format: FORMAT_VERSION,
    source: sourceOf(checkpoint.dir),
    weights,
    vision,
    keep: [...keep],
    block: plan.block,
    tensors: tensorEntries(plan, results),
    files: files.sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
  const text = `${JSON.stringify(manifest, undefined, 1)}\n`;
  await writeWhole(disk, join(dir, MANIFEST_FILE), new TextEncoder().encode(text));
  return manifest;
}

function tensorEntries(plan: Plan, results: ReadonlyMap<string, TaskResult>): Manifest["tensors"] {
  const entries: [string, Manifest["tensors"][string]][] = [];
  for (const job of plan.jobs) {
    const { hashes, errors } = results.get(job.name) as TaskResult;
    for (const { name, bytes } of placesOf(job)) {
      const storage: Storage = partOf(name)?.storage ?? "dense";
      const error = errors[name];
      const entry = { storage, bytes, sha256: hashes[name] as string };
      entries.push([name, error === undefined ? entry : { ...entry, error }]);
    }
  }
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function writeWhole(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const file = await disk.open(path);
  try {
    await file.resize(bytes.length);
    await file.write(bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Gives the finished folder its name. Until then whatever had the name keeps it. */
async function putInPlace(dir: string, out: string): Promise<void> {
  await checkPlace(out, true); // something else may have come there meanwhile
  await onDisk(`give ${out} its name`, async () => {
    await replaceFolder(out, dir, `${out}.old-${randomUUID()}`);
    // Not before: without it, a folder that could not get its name would be made all over again.
    await rm(join(out, JOURNAL_FILE), { force: true });
  });
}

/** @throws OryxError `bad_option` when something is there that may not be replaced */
async function checkPlace(out: string, force: boolean): Promise<void> {
  if (!(await lstat(out).catch(() => undefined))) return;
  if (!(await isConverted(out))) {
    const problem = `${out} is there already, and is no converted model`;
    throw new OryxError("bad_option", problem, "give a folder that does not exist yet");
  }
  if (force) return;
  throw new OryxError("bad_option", `${out} is there already`, "add --force to replace it");
}

function coarse(plan: Plan, { tensors }: Manifest): Conversion["coarse"] {
  const found: Conversion["coarse"] = [];
  const look = (values: Place, most: number) => {
    const error = tensors[values.name]?.error ?? 0;
    if (error > most) found.push({ name: values.name, error });
  };
  for (const { int4, int8 } of plan.jobs) {
    if (int4) look(int4.values, COARSE_INT4[blockOfShape(int4.values.shape) as Int4Block]);
    if (int8) look(int8.values, COARSE_INT8);
  }
  return found.sort((a, b) => b.error - a.error);
}
