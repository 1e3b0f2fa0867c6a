import { readFile, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { discard, onDisk } from "./cache.ts";
import { pause } from "./request.ts";

const BEAT_MS = 2_000;
/** A holder that has not beaten for this long is gone (or on a machine whose clock is elsewhere). */
const STALE_MS = 30_000;
const POLL_MS = 100;

/**
 * Runs an action while no other pull, of this or another process, holds the lock file. Its holder keeps its time
 * fresh; a lock whose process has ended, or that went stale, is taken over.
 * @throws OryxError `aborted` while waiting, `disk`
 */
export async function withLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  action: () => Promise<T>,
): Promise<T> {
  while (!(await tryLock(path))) {
    if (await isAbandoned(path)) await discard(path);
    else await pause(POLL_MS, signal);
  }
  const beat = setInterval(() => {
    const now = new Date();
    // A missed beat costs nothing until the lock is stale.
    utimes(path, now, now).catch(() => undefined);
  }, BEAT_MS);
  try {
    return await action();
  } finally {
    clearInterval(beat);
    await discard(path);
  }
}

function tryLock(path: string): Promise<boolean> {
  return onDisk("lock a download", async () => {
    try {
      await writeFile(path, `${process.pid} ${hostname()}`, { flag: "wx" });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
  });
}

async function isAbandoned(path: string): Promise<boolean> {
  try {
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > STALE_MS) return true;
    const [pid, host] = (await readFile(path, "utf8")).split(" ");
    return host === hostname() && !isRunning(Number(pid));
  } catch {
    // It was released just now: try again.
    return false;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
