import { homedir } from "node:os";
import { join, resolve } from "node:path";

/**
 * Folder in which what was made of images and videos is kept: the one that was asked for, else ORYX_CACHE_DIR, else
 * `oryx` in the user's folder for caches. Undefined when ORYX_CACHE is "off", whatever was asked for: who sets it is
 * promised that nothing is kept.
 */
export function mediaCacheDir(
  env: Readonly<Record<string, string | undefined>>,
  asked?: string,
): string | undefined {
  if (env.ORYX_CACHE === "off") return undefined;
  if (asked !== undefined) return resolve(asked);
  if (env.ORYX_CACHE_DIR) return resolve(env.ORYX_CACHE_DIR);
  return join(env.XDG_CACHE_HOME ? resolve(env.XDG_CACHE_HOME) : join(homedir(), ".cache"), "oryx");
}
