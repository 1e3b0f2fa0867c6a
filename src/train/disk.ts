import { open } from "node:fs/promises";
import { OryxError } from "../core/errors.ts";

/** Runs an action on the file system, whose errors become `disk`. */
export async function onDisk<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (cause instanceof OryxError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    const isFull = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
    const problem = isFull
      ? `the disk is full (${code}): could not ${what}`
      : `could not ${what}: ${message}`;
    const remedy = isFull
      ? "free some space and run the same command again: it goes on at the last snapshot"
      : "check the folder and its permissions";
    throw new OryxError("disk", problem, remedy, { cause });
  }
}

/** Makes a folder's entries (new names, renamed ones) survive a loss of power, where the system can. */
export async function syncFolder(dir: string): Promise<void> {
  // Windows cannot open a folder, and needs no such thing.
  const handle = await open(dir, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
