/** The kinds of image file that are decoded. Everything else is refused, whatever the decoder could do with it. */
export type ImageFormat = "jpeg" | "png" | "webp" | "gif" | "avif";

/** Bytes that {@link imageFormat} wants to see: an AVIF may list its brands up to here. */
export const FORMAT_BYTES = 64;

/**
 * The format that a file's first bytes announce, or undefined. Names and extensions are not asked: they lie, and
 * they would let SVG, PDF and the other thirty loaders of libvips in, whose parsers nobody here has looked at.
 */
export function imageFormat(head: Uint8Array): ImageFormat | undefined {
  const text = String.fromCharCode(...head.subarray(0, FORMAT_BYTES));
  if (text.startsWith("\xff\xd8\xff")) return "jpeg";
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (text.startsWith("GIF87a") || text.startsWith("GIF89a")) return "gif";
  if (text.startsWith("RIFF") && text.startsWith("WEBP", 8)) return "webp";
  if (text.startsWith("ftyp", 4) && brands(text).includes("avif")) return "avif";
  return undefined;
}

/** ISO 14496-12: the `ftyp` box holds a major brand, a version, and compatible brands up to the box's end. */
function brands(text: string): string[] {
  const end = Math.min(
    text.length,
    [...text.slice(0, 4)].reduce((n, c) => n * 256 + c.charCodeAt(0), 0),
  );
  const compatible = [];
  for (let at = 16; at + 4 <= end; at += 4) compatible.push(text.slice(at, at + 4));
  return [text.slice(8, 12), ...compatible];
}
