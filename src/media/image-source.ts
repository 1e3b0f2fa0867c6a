import { open, readFile } from "node:fs/promises";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { fileSize, shortened, unreadable } from "./file.ts";
import { FORMAT_BYTES, type ImageFormat, imageFormat } from "./image-format.ts";
import type { MediaSource } from "./media.ts";

/** An image file that exists, is readable, is not too long, and begins like one of the known formats. */
export interface ImageFile {
  /** For messages. */
  name: string;
  format: ImageFormat;
  byteLength: number;
  /** The first bytes; FORMAT_BYTES of them where there are so many. */
  head: Uint8Array;
  /** What sharp reads: the path, so that a large file is streamed, or the bytes. */
  input: string | Uint8Array;
}

/**
 * Looks at a file's length and first bytes, and no further.
 * @throws OryxError `media_missing`, `media_unreadable`, `media_empty`, `media_too_large`, `media_unsupported`
 */
export async function openImageFile(source: MediaSource): Promise<ImageFile> {
  const name = shortened(typeof source === "string" ? source : (source.name ?? "the image"));
  const byteLength = typeof source === "string" ? await fileSize(source, name) : source.bytes.length;
  if (byteLength === 0) {
    throw new OryxError("media_empty", `${name} has no bytes`, "was the download or the copy cut off?");
  }
  const head = typeof source === "string" ? await readHead(source, name, FORMAT_BYTES) : source.bytes;
  const format = imageFormat(head);
  if (!format) {
    throw new OryxError(
      "media_unsupported",
      `${name} is not a JPEG, PNG, WebP, GIF or AVIF file`,
      "convert it to one of these; a file's content counts, not its name",
    );
  }
  // Behind what it is: a film may be larger.
  if (byteLength > LIMITS.imageBytes) {
    throw new OryxError(
      "media_too_large",
      `${name} has ${byteLength} bytes; images may have ${LIMITS.imageBytes}`,
      "save it smaller, or as JPEG",
    );
  }
  return { name, format, byteLength, head, input: await sharpInput(source, name) };
}

/** The first `maxBytes` of a file, or all of a shorter one. @throws OryxError `media_unreadable` */
export async function readHead(path: string, name: string, maxBytes: number): Promise<Uint8Array> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw unreadable(name, cause);
  });
  try {
    const size = Math.min(maxBytes, (await file.stat()).size);
    const { buffer, bytesRead } = await file.read(new Uint8Array(size), 0, size, 0);
    return buffer.subarray(0, bytesRead);
  } catch (cause) {
    throw unreadable(name, cause);
  } finally {
    await file.close();
  }
}

/** libvips takes `name[page=2]` for a file and its options, so a name that ends like that goes in as bytes. */
async function sharpInput(source: MediaSource, name: string): Promise<string | Uint8Array> {
  if (typeof source !== "string") return source.bytes;
  if (!source.endsWith("]")) return source;
  return readFile(source).catch((cause: unknown) => {
    throw unreadable(name, cause);
  });
}
