import { stat } from "node:fs/promises";
import { OryxError } from "../core/errors.ts";

/** Files of pictures and films: what is asked of each before it is opened, and how messages name it. */

/**
 * Bytes of a regular file.
 * @throws OryxError `media_missing`, `media_unreadable` (a folder, a pipe, a device, no permission)
 */
export async function fileSize(path: string, name: string): Promise<number> {
  if (/^([a-z][a-z\d+.-]+:\/\/|data:)/i.test(path)) {
    throw new OryxError("media_missing", `${name} is a URL, not a file`, "download it first; give its path");
  }
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "EACCES" || cause.code === "EPERM") throw unreadable(name, cause);
    throw new OryxError("media_missing", `there is no file ${name}`, "check the path", { cause });
  });
  // Opening a pipe would wait for a writer for ever, and a device never ends.
  if (!found.isFile()) {
    const kind = found.isDirectory() ? "a folder" : "not a regular file";
    throw new OryxError("media_unreadable", `${name} is ${kind}`, "give the path of an image or video file");
  }
  return found.size;
}

export function unreadable(name: string, cause: unknown): OryxError {
  return new OryxError("media_unreadable", `${name} cannot be read`, "check the file and its permissions", {
    cause,
  });
}

/** A name fit for one line of a message: somebody will pass a picture's base64 as its path. */
export function shortened(name: string): string {
  return name.length <= 160 ? name : `${name.slice(0, 60)}…${name.slice(-60)}`;
}
