import { type FileHandle, open } from "node:fs/promises";
import { OryxError } from "../core/errors.ts";
import { fileSize, shortened, unreadable } from "./file.ts";
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
  const byteLength = await fileSize(path, name);
  const handle = await open(path, "r").catch((cause: unknown) => {
    throw unreadable(name, cause);
  });
  return {
    name,
    byteLength,
    read: (offset, length) => readFully(handle, name, offset, Math.min(length, byteLength - offset)),
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
