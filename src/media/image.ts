import sharp, { type Sharp, type SharpOptions } from "sharp";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Size } from "../core/size.ts";
import type { ImageFormat } from "./image-format.ts";
import { decodeGif, type Gif, readGifHeader } from "./image-gif.ts";
import { type ImageFile, openImageFile, readHead } from "./image-source.ts";
import type { MediaSource, RgbImage } from "./media.ts";
import { inBands, inSteps, type Steps } from "./steps.ts";

export interface ImageInfo {
  /** Displayed size in pixels, after the rotation that EXIF asks for. */
  width: number;
  height: number;
  format: ImageFormat;
}

/**
 * Reads an image's size from its header, without decoding pixels.
 * @throws OryxError as {@link decodeImage}; a file that is damaged behind its header passes
 */
export async function probeImage(source: MediaSource): Promise<ImageInfo> {
  const { file, header } = await openImage(source);
  return { width: header.width, height: header.height, format: file.format };
}

/**
 * Decodes the (first) picture of a JPEG, PNG, WebP, GIF or AVIF file to what the model was trained on, which is
 * Pillow's `ImageOps.exif_transpose(Image.open(file)).convert("RGB")`: turned as EXIF says, alpha dropped and
 * not blended, colour profiles ignored, CMYK by the naive formula.
 *
 * Equal to Pillow 12 to the byte: JPEG (RGB, grey, progressive, every chroma subsampling, CMYK, YCCK), PNG (1 to
 * 8 bits, palette, alpha, 16-bit RGB, RGBA and grey with alpha), WebP (lossy, lossless, alpha, animated), GIF.
 * Not equal: 16-bit grey PNG, where Pillow cuts every value above 255 to white, and this takes the high byte as
 * both do for all other 16-bit pictures; AVIF with 4:2:0 chroma, which the two libraries enlarge differently
 * (0.4 levels in the mean of a photograph; 4:4:4 differs by one level at most); an orientation that only XMP
 * tells, which Pillow follows.
 *
 * A picture that is cut off, or whose damage its format lets one see, is an error, never half a picture. (JPEG and
 * lossy WebP have no checksums: flipped bits in them can pass as other colours.)
 *
 * libvips' cache needs no setting: it keeps nothing of what is read front to back, so a file that changes under
 * the same name is read anew. Threads are left to sharp.
 *
 * @param options.signal is looked at between reading the header, decoding and converting, and in our own decoder and
 *   converter (GIF, CMYK), not inside sharp's
 * @throws OryxError `media_missing`, `media_unreadable`, `media_empty`, `media_unsupported` (another format),
 *   `media_malformed` (cut off, damaged), `media_too_large` (by the header, before decoding), `aborted`
 */
export async function decodeImage(
  source: MediaSource,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<RgbImage> {
  throwIfAborted(options.signal);
  const { file, header } = await openImage(source);
  throwIfAborted(options.signal);
  if (header.gif) return inSteps(decodeGif(header.gif.bytes, header.gif, file.name), options.signal);
  const pixels = await decodeWithSharp(file, header);
  throwIfAborted(options.signal);
  if (pixels.width !== header.width || pixels.height !== header.height) {
    throw malformed(file.name, "its picture has another size than its header says");
  }
  return header.isCmyk ? inSteps(cmykToRgb(pixels), options.signal) : pixels;
}

interface Header {
  width: number;
  height: number;
  isCmyk: boolean;
  gif?: Gif & { bytes: Uint8Array };
}

async function openImage(source: MediaSource): Promise<{ file: ImageFile; header: Header }> {
  const file = await openImageFile(source);
  const header = file.format === "gif" ? await readGif(file) : await readWithSharp(file);
  checkSize(file, header);
  return { file, header };
}

function checkSize(file: ImageFile, { width, height }: Size): void {
  if (Math.max(width, height) > LIMITS.imageSide || width * height > LIMITS.imagePixels) {
    throw new OryxError(
      "media_too_large",
      `${file.name} is ${width} x ${height} pixels; ${LIMITS.imageSide} a side and ${LIMITS.imagePixels} in all are allowed`,
      "make it smaller first",
    );
  }
  // Every 8x8 block costs a JPEG at least one bit. Without this a kilobyte with a progressive header makes the
  // decoder fill 800 MB of coefficients before it misses the data.
  if (file.format === "jpeg" && width * height > file.byteLength * 8 * 64) {
    throw malformed(file.name, `it is too short for the ${width} x ${height} pixels of its header`);
  }
}

async function readGif(file: ImageFile): Promise<Header> {
  const { input, name } = file;
  const bytes = typeof input === "string" ? await readHead(input, name, LIMITS.gifBytes) : input;
  const gif = readGifHeader(bytes, name);
  return { width: gif.width, height: gif.height, isCmyk: false, gif: { ...gif, bytes } };
}

// -------------------------------------------------------------------------------------------------- sharp

const SHARP_OPTIONS: SharpOptions = {
  /** JPEG data that ends early is only a warning to its decoder. */
  failOn: "warning",
  /** {@link checkSize} has a better message. */
  limitInputPixels: false,
  sequentialRead: true,
  ignoreIcc: true,
};

async function readWithSharp(file: ImageFile): Promise<Header> {
  if (file.format === "png") checkSize(file, pngSize(file.head));
  const header = await sharp(file.input, SHARP_OPTIONS)
    .metadata()
    .catch((cause: Error) => {
      throw sharpError(file, cause);
    });
  const { width, height } = header.autoOrient;
  return { width, height, isCmyk: header.space === "cmyk" };
}

/** The size in a PNG's first chunk: libvips writes warnings to stderr about one that overflows its integers. */
function pngSize(head: Uint8Array): Size {
  if (head.length < 24) return { width: 0, height: 0 };
  const view = new DataView(head.buffer, head.byteOffset);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/** -> RGB, or CMYK as it is stored */
async function decodeWithSharp(file: ImageFile, header: Header): Promise<RgbImage> {
  try {
    return await rawPixels(sharp(file.input, SHARP_OPTIONS), header.isCmyk);
  } catch (cause) {
    if (!isHarmless(cause as Error)) throw sharpError(file, cause as Error);
  }
  return rawPixels(sharp(file.input, { ...SHARP_OPTIONS, failOn: "error" }), header.isCmyk).catch(
    (cause: Error) => {
      throw sharpError(file, cause);
    },
  );
}

async function rawPixels(image: Sharp, isCmyk: boolean): Promise<RgbImage> {
  const upright = image.autoOrient();
  const converted = isCmyk
    ? upright.pipelineColourspace("cmyk").toColourspace("cmyk")
    : upright.toColourspace("srgb").removeAlpha();
  const { data, info } = await converted.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
  return { width: info.width, height: info.height, data: bytes };
}

/** Some cameras write scan parameters that a sequential JPEG should not have; all of the picture is there. */
function isHarmless(cause: Error): boolean {
  return /^VipsJpeg: Invalid SOS parameters for sequential JPEG\s*$/.test(cause.message);
}

function sharpError(file: ImageFile, cause: Error): OryxError {
  if (cause.message.includes("unsupported image format")) {
    return new OryxError(
      "media_unsupported",
      `${file.name} is a kind of ${file.format.toUpperCase()} that cannot be decoded`,
      "convert it to JPEG or PNG",
      { cause },
    );
  }
  const firstLine = cause.message.replaceAll(`${file.input}: `, "").split("\n", 1)[0]!;
  return malformed(file.name, firstLine.replace(/[:\s]+$/, ""), cause);
}

function malformed(name: string, problem: string, cause?: Error): OryxError {
  return new OryxError("media_malformed", `${name} is damaged: ${problem}`, "get or save the image again", {
    cause,
  });
}

/**
 * Paper white less ink, less black, in Pillow's rounding. No ink profile is asked; 0 is no ink.
 * @param data four bytes a pixel, which is one more than an RgbImage has
 */
function* cmykToRgb({ width, height, data: cmyk }: RgbImage): Steps<RgbImage> {
  const data = new Uint8Array(3 * width * height);
  yield* inBands(height, width, (begin, end) => {
    let to = 3 * width * begin;
    for (let from = 4 * width * begin; from < 4 * width * end; from += 4) {
      const light = 255 - cmyk[from + 3]!;
      for (let ink = 0; ink < 3; ink++) data[to++] = light - timesOver255(cmyk[from + ink]!, light);
    }
  });
  return { width, height, data };
}

/** a * b / 255, rounded, for a and b up to 255 */
function timesOver255(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}
