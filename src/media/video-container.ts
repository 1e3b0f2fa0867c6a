import { OryxError } from "../core/errors.ts";
import type { VideoFile } from "./video-file.ts";

/**
 * What a film's first bytes announce. `mp4` (and mov) and `matroska` (and webm) are read by this package itself;
 * `foreign` are films that only a system `ffmpeg` can open.
 */
export type Container = "mp4" | "matroska" | "foreign";

/** How each known container begins: latin-1 text at an offset. A name or extension is never asked. */
const SIGNATURES: readonly (readonly [container: Container, offset: number, text: string])[] = [
  ["mp4", 4, "ftyp"],
  ["mp4", 4, "moov"],
  ["mp4", 4, "mdat"],
  ["mp4", 4, "wide"],
  ["mp4", 4, "free"],
  ["mp4", 4, "skip"],
  ["mp4", 4, "styp"],
  ["mp4", 4, "moof"],
  ["matroska", 0, "\x1a\x45\xdf\xa3"],
  ["foreign", 8, "AVI "],
  ["foreign", 0, "FLV\x01"],
  ["foreign", 0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"], // ASF: .wmv, .asf
  ["foreign", 0, "\x00\x00\x01\xba"], // MPEG programme stream: .mpg, .vob
  ["foreign", 0, "OggS"],
  ["foreign", 0, ".RMF"],
];

/** MPEG transport streams have no magic, only a sync byte every 188 bytes. */
const TS_PACKET = 188;
const TS_SYNC = 0x47;

/** Brands of pictures that are kept in the container of mp4: phones write HEIC. */
const STILL_BRANDS = new Set(["heic", "heix", "heim", "heis", "mif1", "avif"]);

/**
 * The kind of container, or undefined when the bytes are no film at all.
 * @throws OryxError `media_unsupported`: a picture in a film's container
 */
export async function containerOf(file: VideoFile): Promise<Container | undefined> {
  const head = await file.read(0, 2 * TS_PACKET + 1);
  const text = String.fromCharCode(...head);
  const brand = text.slice(8, 12);
  if (text.startsWith("ftyp", 4) && STILL_BRANDS.has(brand)) {
    const problem = `${file.name} is a picture in the format ${brand}, which is not read`;
    throw new OryxError("media_unsupported", problem, "convert it to JPEG, PNG or WebP");
  }
  const match = SIGNATURES.find(([, offset, signature]) => text.startsWith(signature, offset));
  if (match) return match[0];
  const isTransport = [0, TS_PACKET, 2 * TS_PACKET].every((at) => head[at] === TS_SYNC);
  return isTransport ? "foreign" : undefined;
}

/**
 * Whether a Matroska file ends before its segment does: it was cut, and its last frames are gone. Segments of
 * unknown length (live recordings) cannot tell.
 */
export async function isMatroskaCut(file: VideoFile): Promise<boolean> {
  const head = await file.read(0, 4096);
  const header = element(head, 0);
  if (!header || header.size === undefined) return false;
  const segment = element(head, header.start + header.size);
  if (!segment || segment.id !== SEGMENT_ID || segment.size === undefined) return false;
  return segment.start + segment.size > file.byteLength;
}

const SEGMENT_ID = 0x18538067;

/** An EBML element's id, size (undefined: unknown) and where its content starts. */
function element(bytes: Uint8Array, at: number) {
  const id = variableInt(bytes, at, true);
  if (!id) return undefined;
  const size = variableInt(bytes, at + id.length, false);
  if (!size) return undefined;
  const unknown = size.value === 2 ** (7 * size.length) - 1;
  return { id: id.value, size: unknown ? undefined : size.value, start: at + id.length + size.length };
}

/** EBML's variable-length integer (RFC 8794): leading zeros give its length; ids keep the marker bit. */
function variableInt(bytes: Uint8Array, at: number, keepMarker: boolean) {
  const first = bytes[at];
  if (first === undefined || first === 0) return undefined;
  const length = Math.clz32(first) - 23;
  let value = keepMarker ? first : first - (0x80 >> (length - 1));
  for (let i = 1; i < length; i++) value = value * 256 + (bytes[at + i] ?? 0);
  return { length, value };
}
