import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { onDisk } from "./disk.ts";

const BEAT_MS = 2_000;
/** A holder on another machine that has not beaten for this long is gone: ended, or the machine is off. */
const STALE_MS = 30_000;

/** How long a holder that may be dying is watched, and how often: one that lives beats in this time. */
const WATCH_MS = 3 * BEAT_MS;
const POLL_MS = 100;

export interface LockOptions {
  /** What to say when another process holds the lock and lives. Without it, its end is waited for. */
  held?: string;
  /** Ends the waiting. */
  signal?: AbortSignal | undefined;
}

/**
 * Runs an action while nobody else, in this or another process, holds the lock file. Its holder keeps its time fresh;
 * the lock of a process that has ended is taken over. A killed process can take seconds to end while the disk is busy.
 * @throws OryxError `locked` with {@link LockOptions.held}: at the sight of a beat, or after six seconds; `aborted`;
 *   `disk`, also when the file is no lock
 */
export async function withLock<T>(
  path: string,
  { held, signal }: LockOptions,
  action: () => Promise<T>,
): Promise<T> {
  const mine = [process.pid, hostname(), randomUUID(), await startOf(process.pid)].join(" ");
  const deadline = performance.now() + WATCH_MS;
  let beaten: number | undefined;
  while (!(await tryLock(path, mine)) && !((await takeAway(path)) && (await tryLock(path, mine)))) {
    const before = beaten;
    beaten = await beatOf(path);
    const lives = (before !== undefined && before !== beaten) || performance.now() >= deadline;
    if (held !== undefined && lives) {
      const remedy = `wait for it; if there is none, remove ${path}`;
      throw new OryxError("locked", `${held}: it holds ${path}`, remedy);
    }
    await pause(signal);
  }
  const isMine = async () => (await readFile(path, "utf8").catch(() => undefined)) === mine;
  const beat = setInterval(async () => {
    const now = new Date();
    // A missed beat costs nothing until the lock is stale.
    if (await isMine()) await utimes(path, now, now).catch(() => undefined);
  }, BEAT_MS);
  try {
    return await action();
  } finally {
    clearInterval(beat);
    // After a long sleep it may be another's by now.
    if (await isMine()) await rm(path, { force: true });
    // Left by a process that was killed while it took a lock over.
    await rm(`${path}.stale`, { force: true });
  }
}

async function pause(signal: AbortSignal | undefined): Promise<void> {
  await sleep(POLL_MS, undefined, signal ? { signal } : {}).catch(() => undefined);
  throwIfAborted(signal);
}

/** When the holder last beat; undefined without one. */
async function beatOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.mtimeMs;
}

function tryLock(path: string, mine: string): Promise<boolean> {
  return onDisk(`make ${path}`, async () => {
    try {
      await writeFile(path, mine, { flag: "wx" });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
  });
}

/** Takes away a lock that nobody holds any more. Of several that try, only one can move it aside. */
async function takeAway(path: string): Promise<boolean> {
  const holder = await readFile(path, "utf8").catch(() => undefined);
  if (holder === undefined) return true; // released just now
  if (!LOCK.test(holder)) {
    throw new OryxError("disk", `${path} is there, and is no lock`, "move it away, or choose another place");
  }
  if (!(await isAbandoned(path, holder))) return false;
  const aside = `${path}.stale`;
  try {
    await rename(path, aside);
  } catch {
    return true; // another moved it first, and the next try shows who holds it
  }
  // Another may have taken it over since it was read: then it goes back.
  const isTheSame = (await readFile(aside, "utf8").catch(() => undefined)) === holder;
  if (!isTheSame) await link(aside, path).catch(() => undefined); // unless a third one holds it by now
  await rm(aside, { force: true });
  return isTheSame;
}

/** What a lock says; nothing yet just after it was made. */
const LOCK = /^(\d+ \S+ \S+( \d*)?)?$/;

/** On this machine a process that lives holds its lock, even one that is suspended; elsewhere only beats tell. */
async function isAbandoned(path: string, holder: string): Promise<boolean> {
  const [pid, host, , start = ""] = holder.split(" ");
  if (host === hostname()) {
    const isAnother = start !== "" && (await startOf(Number(pid))) !== start;
    return isAnother || !isRunning(Number(pid));
  }
  const beaten = await beatOf(path);
  return beaten === undefined || Date.now() - beaten > STALE_MS;
}

/** When a process began, to tell it from a later one of its number; empty where the system does not say. */
async function startOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // Field 22 of proc(5); the second, a name in brackets, may hold blanks.
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
