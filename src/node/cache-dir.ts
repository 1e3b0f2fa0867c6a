import { homedir } from "node:os";
import { join, resolve } from "node:path";

/**
 * Folder in which what was made of images and videos is kept: ORYX_CACHE_DIR, else `oryx` in the user's folder for
 * caches; undefined when ORYX_CACHE is "off".
 */
export function mediaCacheDir(env: Readonly<Record<string, string | undefined>>): string | undefined {
  if (env.ORYX_CACHE === "off") return undefined;
  if (env.ORYX_CACHE_DIR) return resolve(env.ORYX_CACHE_DIR);
  return join(env.XDG_CACHE_HOME ? resolve(env.XDG_CACHE_HOME) : join(homedir(), ".cache"), "oryx");
}
