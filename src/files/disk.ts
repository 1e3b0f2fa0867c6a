import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { OryxError } from "../core/errors.ts";

/**
 * Runs an action on the file system, whose errors become `disk`.
 * @param remedy what to do about any but a full disk
 */
export async function onDisk<T>(
  what: string,
  action: () => Promise<T>,
  remedy = "check the folder and its permissions",
): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (cause instanceof OryxError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== "ENOSPC" && code !== "EDQUOT" && code !== "EFBIG") {
      throw new OryxError("disk", `could not ${what}: ${message}`, remedy, { cause });
    }
    const problem = `the disk is full (${code}): could not ${what}`;
    const goOn = "free some space and run the same command again: it goes on where it stopped";
    throw new OryxError("disk", problem, goOn, { cause });
  }
}

/** Makes a folder's entries (new names, renamed ones) survive a loss of power, where the system can. */
export async function syncFolder(dir: string): Promise<void> {
  // Windows cannot open a folder, and needs no such thing.
  const handle = await open(dir, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/**
 * Makes a folder, and those above it that are not there; all of them would survive a loss of power. Step by step:
 * Node's own `recursive` never ends below a folder such as /proc, which is there and takes nothing.
 * @param mode permissions of what is made
 */
export async function makeFolder(dir: string, mode = 0o777): Promise<void> {
  const above = dirname(resolve(dir));
  const make = (onError: (error: NodeJS.ErrnoException) => Promise<void>) =>
    mkdir(dir, mode).catch(async (error) => {
      // Another process may have made it meanwhile.
      if (!(await isFolder(dir))) await onError(error);
    });
  const refuse = (error: Error) => Promise.reject(error);
  await make(async (error) => {
    if (error.code !== "ENOENT") throw error;
    if (!(await isFolder(above))) await makeFolder(above, mode);
    await make(refuse);
  });
  await syncFolder(above);
}

/** Whether there is a folder, through links. */
export const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** Writes a file anew; when this returns, its bytes would survive a loss of power. */
export async function writeSynced(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, "w");
  try {
    await write(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Puts a whole file in the place of one that may be there: whoever reads sees the old one or the new. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`; // two may write at a time
  try {
    await writeSynced(temporary, (file) => file.writeFile(content));
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first error is the one to report
    throw error;
  }
}

/**
 * Gives a whole folder its name, in the place of one that may have it, which is moved aside and then removed. When this
 * returns, the new name would survive a loss of power. A kill in between leaves both, whole, under other names.
 */
export async function replaceFolder(dir: string, by: string, aside: string): Promise<void> {
  await syncFolder(by);
  await rename(dir, aside).catch(ignoreMissing);
  await rename(by, dir);
  await syncFolder(dirname(dir));
  await rm(aside, { recursive: true, force: true });
}

/** For `catch`: what is not there gives nothing, instead of an error. */
export function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
  return undefined;
}
