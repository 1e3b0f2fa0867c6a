import { type FileHandle, open, stat } from "node:fs/promises";
import { OryxError } from "../core/errors.ts";
import type { MediaSource } from "./media.ts";

/** The bytes of a film, read where they are asked for. */
export interface VideoFile {
  /** For messages: one line. */
  readonly name: string;
  readonly byteLength: number;
  /** Up to `length` bytes from `offset`; fewer only at the end of the file. @throws OryxError `media_unreadable` */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/**
 * Opens a film's bytes; nothing is read yet.
 * @throws OryxError `media_missing`, `media_unreadable` (folders, pipes, permissions), `media_empty`
 */
export async function openVideoFile(source: MediaSource): Promise<VideoFile> {
  const file = typeof source === "string" ? await fileOnDisk(source) : fileInMemory(source);
  if (file.byteLength > 0) return file;
  await file.close();
  throw new OryxError("media_empty", `${file.name} has no bytes`, "was the download or the copy cut off?");
}

function fileInMemory({ bytes, name }: Exclude<MediaSource, string>): VideoFile {
  return {
    name: shortened(name ?? "the video"),
    byteLength: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    close: async () => {},
  };
}

async function fileOnDisk(path: string): Promise<VideoFile> {
  const name = shortened(path);
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
  const handle = await open(path, "r").catch((cause: unknown) => {
    throw unreadable(name, cause);
  });
  return {
    name,
    byteLength: found.size,
    read: (offset, length) => readFully(handle, name, offset, Math.min(length, found.size - offset)),
    close: () => handle.close(),
  };
}

async function readFully(
  handle: FileHandle,
  name: string,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.max(0, length));
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle
      .read(bytes, done, bytes.length - done, offset + done)
      .catch((cause: unknown) => {
        throw unreadable(name, cause);
      });
    if (bytesRead === 0) throw unreadable(name, new Error("the file became shorter while it was read"));
    done += bytesRead;
  }
  return bytes;
}

function unreadable(name: string, cause: unknown): OryxError {
  return new OryxError("media_unreadable", `${name} cannot be read`, "check the file and its permissions", {
    cause,
  });
}

/** A name fit for one line of a message: somebody will pass a film's base64 as its path. */
function shortened(name: string): string {
  return name.length <= 160 ? name : `${name.slice(0, 60)}…${name.slice(-60)}`;
}
