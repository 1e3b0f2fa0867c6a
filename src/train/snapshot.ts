import { createHash, randomBytes } from "node:crypto";
import { link, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { OryxError, quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { ignoreMissing, makeFolder, onDisk, replaceFolder, writeSynced } from "../files/disk.ts";

/**
 * Snapshots: all that a run needs to go on to the bit. Each is a folder `step-N` of raw arrays and a manifest that
 * holds the hash of every file, and its own. It is written under another name, brought to the disk and renamed, so a
 * kill at any moment leaves the snapshots before it as they were; what is not as it was written is noticed.
 */

const SNAPSHOT_NAME = /^step-(\d{9})$/;
/** What a kill may have left, of a snapshot that was being written or replaced. */
const LEFTOVER = /^\.(writing|replaced)-/;
const MANIFEST = "manifest.json";
/** Bytes that are hashed and written, or read, at a time. */
const CHUNK_BYTES = 2 ** 26;

const natural = z.int().nonnegative();

/** Where a run stood. */
const FACTS = z.strictObject({
  /** Optimiser steps of the whole run; names the snapshot. */
  step: natural,
  stage: z.string().max(64),
  /** Optimiser steps of the stage. */
  stageStep: natural,
  /** Updates of the stage: fewer than its steps when every example of a batch was skipped. */
  updates: natural,
  /** Of the recipe up to this stage: a run must not go on with another. */
  fingerprint: z.string().max(128),
  /** Examples that were skipped, by the code of the reason. */
  skipped: z.record(z.string().max(64), natural),
  /** Tokens gone through, and the seconds that took. */
  tokens: natural,
  seconds: z.number().nonnegative(),
  /** Length of the metrics file in bytes; lines behind it were of steps that will be taken again. */
  metricsBytes: natural,
  /** Lanes, and threads of a session, on which the order of sums depends; absent in older snapshots. */
  shares: z.strictObject({ lanes: natural, threads: natural }).optional(),
  /** By name, what else the bits depend on and a fingerprint does not hold; absent in older snapshots. */
  inputs: z.record(z.string().max(64), z.string().max(128)).optional(),
});
export type SnapshotFacts = z.infer<typeof FACTS>;

const HASH = z.string().regex(/^[0-9a-f]{64}$/);
const CONTENT = z.strictObject({
  snapshot: z.literal(1),
  facts: FACTS,
  files: z.record(
    z.string().regex(/^[a-z][a-z0-9_]{0,63}\.f32$/),
    z.strictObject({ bytes: natural, sha256: HASH }),
  ),
});
const SEALED = z.strictObject({ content: CONTENT, sha256: HASH });

/** Arrays by name (lower case letters, digits, underscores). */
export type SnapshotArrays = Readonly<Record<string, Float32Array>>;

/** A snapshot whose every byte was checked. */
export interface Snapshot {
  path: string;
  facts: SnapshotFacts;
  /**
   * Reads an array into memory of its length.
   * @throws OryxError `snapshot_damaged` when it is not there, of another length, or has changed since it was checked
   */
  read(name: string, into: Float32Array): Promise<void>;
}

export interface SaveOptions {
  /** Snapshots that are kept; default 2. */
  keep?: number | undefined;
  /** Arrays that stay as they are through a stage: of a large model they may be nearly all. Default: none. */
  fixed?: readonly string[] | undefined;
}

/**
 * Writes a snapshot and then removes all but the last `keep`. When it returns, the snapshot would survive a loss of
 * power. The arrays must not change meanwhile. Those that are fixed are not written again: the file of the oldest
 * snapshot, which is about to go, gets a second name. So no two of those that stay share a file, and with it its damage.
 * @returns its folder @throws OryxError `disk`
 */
export async function saveSnapshot(
  dir: string,
  facts: SnapshotFacts,
  arrays: SnapshotArrays,
  { keep = 2, fixed = [] }: SaveOptions = {},
): Promise<string> {
  const path = join(dir, nameAt(facts.step));
  const suffix = randomBytes(6).toString("hex");
  const temporary = join(dir, `.writing-${suffix}`);
  await onDisk(`write a snapshot into ${dir}`, async () => {
    await removeLeftovers(dir); // before anything is written: they may be what fills the disk
    try {
      await makeFolder(temporary);
      const files: Record<string, FileFacts> = {};
      const leaving = await leavingSnapshot(dir, facts, keep);
      for (const [name, array] of Object.entries(arrays)) {
        const file = `${name}.f32`;
        const linked = fixed.includes(name) && (await linkFrom(leaving, file, array, join(temporary, file)));
        files[file] = linked || (await writeArray(join(temporary, file), array));
      }
      const content = CONTENT.parse({ snapshot: 1, facts, files });
      const manifest = JSON.stringify({ content, sha256: hashOf(content) });
      await writeSynced(join(temporary, MANIFEST), (file) => file.writeFile(manifest));
      // Another of the same step is there only if it was found damaged, or the run was asked to save twice.
      await replaceFolder(path, temporary, join(dir, `.replaced-${suffix}`));
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined); // the first error counts
      throw error;
    }
    await prune(dir, basename(path), keep);
  });
  return path;
}

/**
 * The newest snapshot that is as it was written; undefined when there is none at all.
 * @param onDamaged is told of each newer one that is not
 * @throws OryxError `snapshot_damaged` when there are some and every one is damaged: beginning anew is for the user to say
 */
export async function newestSnapshot(
  dir: string,
  onDamaged: (problem: OryxError) => void = () => {},
): Promise<Snapshot | undefined> {
  const names = (await snapshotNames(dir)).reverse();
  let last: OryxError | undefined;
  for (const name of names) {
    try {
      return await openSnapshot(join(dir, name));
    } catch (error) {
      if (!(error instanceof OryxError) || error.code !== "snapshot_damaged") throw error;
      last = error;
      onDamaged(error);
    }
  }
  if (last === undefined) return undefined;
  const problem = `every snapshot in ${dir} is damaged: ${last.message}`;
  throw new OryxError("snapshot_damaged", problem, "remove the folder to begin anew", { cause: last });
}

/** Opens one snapshot and checks all of it. @throws OryxError `snapshot_damaged` */
async function openSnapshot(path: string): Promise<Snapshot> {
  const { facts, files } = await readManifest(path);
  for (const [file, { bytes, sha256 }] of Object.entries(files)) {
    const scratch = new Uint8Array(Math.min(CHUNK_BYTES, bytes));
    if ((await readHashed(path, file, bytes, (length) => scratch.subarray(0, length))) !== sha256) {
      throw damaged(path, `${file} is not what was written`);
    }
  }
  const read = async (name: string, into: Float32Array) => {
    const noted = files[`${name}.f32`];
    if (noted?.bytes !== into.byteLength) {
      throw damaged(
        path,
        `${quote(name)} has ${noted?.bytes ?? "no"} bytes, and ${into.byteLength} are needed`,
      );
    }
    const target = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
    const place = (length: number, at: number) => target.subarray(at, at + length);
    if ((await readHashed(path, `${name}.f32`, noted.bytes, place)) !== noted.sha256) {
      throw damaged(path, `${name} has changed while it was read`);
    }
  };
  return { path, facts, read };
}

async function readManifest(path: string): Promise<z.infer<typeof CONTENT>> {
  const file = join(path, MANIFEST);
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile() || found.size > LIMITS.configBytes) throw damaged(path, `it has no ${MANIFEST}`);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw damaged(path, `its ${MANIFEST} cannot be read`, error);
  }
  const sealed = SEALED.safeParse(json);
  if (!sealed.success) throw damaged(path, `its ${MANIFEST} is malformed`, sealed.error);
  const { content, sha256 } = sealed.data;
  if (hashOf(content) !== sha256) throw damaged(path, `its ${MANIFEST} is not what was written`);
  return content;
}

/** Reads just so many bytes of a file, each chunk into memory that `place` gives, and hashes them. */
async function readHashed(
  path: string,
  file: string,
  bytes: number,
  place: (length: number, at: number) => Uint8Array,
): Promise<string> {
  const hash = createHash("sha256");
  const handle = await open(join(path, file), "r").catch((error) => {
    throw damaged(path, `${file} cannot be opened (${error.code})`, error);
  });
  try {
    const { size } = await handle.stat();
    if (size !== bytes) throw damaged(path, `${file} has ${size} bytes, not ${bytes}`);
    for (let at = 0; at < bytes; ) {
      const chunk = place(Math.min(CHUNK_BYTES, bytes - at), at);
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, at).catch((error) => {
        throw damaged(path, `${file} cannot be read (${error.code})`, error);
      });
      if (bytesRead === 0) throw damaged(path, `${file} has become shorter`);
      hash.update(chunk.subarray(0, bytesRead));
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
  return hash.digest("hex");
}

type FileFacts = z.infer<typeof CONTENT>["files"][string];
type LeavingSnapshot = { path: string; files: Readonly<Record<string, FileFacts>> };

/** The oldest snapshot, if it is of the same stage, and goes once another one is there. */
async function leavingSnapshot(
  dir: string,
  { step, stage, fingerprint }: SnapshotFacts,
  keep: number,
): Promise<LeavingSnapshot | undefined> {
  // One of the same step or behind it was found damaged.
  const names = (await snapshotNames(dir)).filter((name) => name < nameAt(step));
  if (names.length < keep) return undefined;
  const path = join(dir, names[0] as string);
  const content = await readManifest(path).catch(() => undefined);
  const isSame = content?.facts.stage === stage && content.facts.fingerprint === fingerprint;
  return isSame ? { path, files: content.files } : undefined;
}

/** Gives a snapshot's file a second name. @returns nothing where that cannot be done */
async function linkFrom(
  leaving: LeavingSnapshot | undefined,
  file: string,
  array: Float32Array,
  to: string,
): Promise<FileFacts | undefined> {
  const found = leaving?.files[file];
  if (leaving === undefined || found?.bytes !== array.byteLength) return undefined;
  // Not every file system has links.
  return link(join(leaving.path, file), to).then(
    () => found,
    () => undefined,
  );
}

async function writeArray(path: string, array: Float32Array): Promise<FileFacts> {
  const hash = createHash("sha256");
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  await writeSynced(path, async (file) => {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      const chunk = bytes.subarray(at, at + CHUNK_BYTES);
      hash.update(chunk);
      await file.writeFile(chunk);
    }
  });
  return { bytes: bytes.length, sha256: hash.digest("hex") };
}

const nameAt = (step: number): string => `step-${String(step).padStart(9, "0")}`;

/** Names of snapshots, the oldest first. */
async function snapshotNames(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch(ignoreMissing);
  return (names ?? []).filter((name) => SNAPSHOT_NAME.test(name)).sort();
}

/** Leaves the newest `keep`. Any behind `newest` were found damaged, when the run went back to an earlier one. */
async function prune(dir: string, newest: string, keep: number): Promise<void> {
  const names = await snapshotNames(dir);
  const old = names.filter((name) => name <= newest).slice(0, -keep);
  const damaged = names.filter((name) => name > newest);
  for (const name of [...old, ...damaged]) await rm(join(dir, name), { recursive: true, force: true });
}

async function removeLeftovers(dir: string): Promise<void> {
  const names = (await readdir(dir).catch(ignoreMissing)) ?? [];
  for (const name of names.filter((n) => LEFTOVER.test(n))) {
    await rm(join(dir, name), { recursive: true, force: true });
  }
}

function hashOf(content: z.infer<typeof CONTENT>): string {
  return createHash("sha256").update(JSON.stringify(content)).digest("hex");
}

function damaged(path: string, problem: string, cause?: unknown): OryxError {
  const remedy = "an earlier snapshot serves, if there is one";
  return new OryxError("snapshot_damaged", `snapshot ${basename(path)}: ${problem}`, remedy, { cause });
}
