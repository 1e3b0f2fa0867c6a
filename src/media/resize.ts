import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { RgbImage } from "./media.ts";
import { atOnce, inBands, inSteps, type Steps } from "./steps.ts";

export type ResizeFilter = "bicubic" | "bilinear" | "lanczos";

/**
 * Resizes a picture exactly as Pillow's `Image.resize` does in mode RGB, up to version 12: to the byte, whatever
 * the sizes. (Pillow 13 takes rows first where the height shrinks by over twice as many pixels as the width.)
 *
 * The model was trained on pictures that Pillow resized, and other libraries' "cubic" differs from it by up to
 * 159 levels. What makes Pillow Pillow: when it shrinks, the filter grows by the ratio, so that every input
 * pixel counts; weights are rounded to 22-bit fixed point; columns come first, and between the two passes
 * pixels are rounded to 8 bits.
 *
 * @param image pixels [height, width, 3]; only read
 * @param width new width in pixels, 1..65535
 * @param height new height in pixels, 1..65535
 * @returns a new picture; its memory is never shared with `image`
 * @throws OryxError `bad_option`: a size that is no whole number in range, an unknown filter, or `image.data`
 *   of another length than 3 * width * height
 */
export function resize(
  image: RgbImage,
  width: number,
  height: number,
  filter: ResizeFilter = "bicubic",
): RgbImage {
  checkResize(image, width, height, filter);
  return atOnce(resizing(image, width, height, filter));
}

export interface ResizeOptions {
  filter?: ResizeFilter;
  signal?: AbortSignal | undefined;
}

/**
 * {@link resize} with pauses, so that a large photograph (24 megapixels take a third of a second) does not hold up
 * the event loop. `image` must not change meanwhile. @throws OryxError as `resize`, and `aborted`.
 */
export async function resizeInSteps(
  image: RgbImage,
  width: number,
  height: number,
  { filter = "bicubic", signal }: ResizeOptions = {},
): Promise<RgbImage> {
  checkResize(image, width, height, filter);
  return inSteps(resizing(image, width, height, filter), signal);
}

function* resizing(image: RgbImage, width: number, height: number, filter: ResizeFilter): Steps<RgbImage> {
  const narrowed = width === image.width ? image : yield* resizeColumns(image, width, filter);
  const resized = height === image.height ? narrowed : yield* resizeRows(narrowed, height, filter);
  return resized === image ? { ...image, data: image.data.slice() } : resized;
}

function checkResize(image: RgbImage, width: number, height: number, filter: ResizeFilter): void {
  const problem = requestProblem(image, width, height, filter);
  if (problem) {
    throw new OryxError(
      "bad_option",
      `cannot resize a picture: ${problem}`,
      `give whole sides between 1 and ${LIMITS.imageSide} pixels, and bicubic, bilinear or lanczos`,
    );
  }
}

function requestProblem(
  image: RgbImage,
  width: number,
  height: number,
  filter: ResizeFilter,
): string | undefined {
  for (const side of [image.width, image.height, width, height]) {
    if (!Number.isInteger(side) || side < 1 || side > LIMITS.imageSide) return `a side of ${side} pixels`;
  }
  if (!Object.hasOwn(FILTERS, filter)) return `no filter is named ${JSON.stringify(filter)}`;
  const bytes = 3 * image.width * image.height;
  if (image.data.length !== bytes) return `it has ${image.data.length} bytes instead of ${bytes}`;
  // The picture between the two passes has the new width and the old height: it can be larger than either end.
  const pixels = width * Math.max(height, image.height);
  return pixels > LIMITS.imagePixels ? `${pixels} pixels would be needed on the way` : undefined;
}

// ------------------------------------------------------------------------------------------------ weights

interface Filter {
  /** Half the filter's width, in input pixels, when nothing shrinks. */
  support: number;
  weight(x: number): number;
}

const FILTERS: Readonly<Record<ResizeFilter, Filter>> = {
  bilinear: { support: 1, weight: triangle },
  bicubic: { support: 2, weight: keysCubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function triangle(x: number): number {
  return Math.max(0, 1 - Math.abs(x));
}

/** Keys' cubic convolution with a = -0.5 (OpenCV and PyTorch take -0.75). */
function keysCubic(x: number): number {
  const a = -0.5;
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return (((d - 5) * d + 8) * d - 4) * a;
  return 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Bits behind the point of a weight: 32 less 8 for the pixel and 2 for the filter's overshoot and sign. */
const PRECISION_BITS = 32 - 8 - 2;
const ONE = 1 << PRECISION_BITS;
const HALF = 1 << (PRECISION_BITS - 1);

/** For every output position: where its window of input positions begins, and the window's weights. */
interface Windows {
  /** [outSize] */
  first: Int32Array;
  /** [outSize + 1]: the weights of position i are `weights[offset[i] .. offset[i + 1]]`. */
  offset: Int32Array;
  /** Fixed point with PRECISION_BITS; each window sums to about one. */
  weights: Int32Array;
}

function windowsOf(inSize: number, outSize: number, filter: Filter): Windows {
  const scale = inSize / outSize;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const first = new Int32Array(outSize);
  const offset = new Int32Array(outSize + 1);
  const longest = Math.min(inSize, Math.ceil(support) * 2 + 1);
  const weights = new Int32Array(outSize * longest);
  const window = new Float64Array(longest);
  let end = 0;
  for (let i = 0; i < outSize; i++) {
    const centre = (i + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(inSize, Math.trunc(centre + support + 0.5)) - begin;
    let sum = 0;
    for (let k = 0; k < count; k++) {
      // Dividing by `stretch` instead would round differently now and then.
      window[k] = filter.weight((k + begin - centre + 0.5) * (1 / stretch));
      sum += window[k]!;
    }
    for (let k = 0; k < count; k++) weights[end++] = fixedPoint(sum === 0 ? window[k]! : window[k]! / sum);
    first[i] = begin;
    offset[i + 1] = end;
  }
  return { first, offset, weights };
}

/** Rounds half away from zero. */
function fixedPoint(weight: number): number {
  return Math.trunc(weight * ONE + (weight < 0 ? -0.5 : 0.5));
}

// ------------------------------------------------------------------------------------------------- passes
// The sums are 32-bit integers, as Pillow's are; writing through a clamped array cuts overshoot to 0..255.

/** [height, inWidth, 3] -> [height, outWidth, 3], two rows at a time, which share the loads of the weights */
function* resizeColumns(image: RgbImage, outWidth: number, filter: ResizeFilter): Steps<RgbImage> {
  const { height, width } = image;
  const windows = windowsOf(width, outWidth, FILTERS[filter]);
  const data = new Uint8Array(3 * outWidth * height);
  const out = new Uint8ClampedArray(data.buffer);
  yield* inBands(height, windows.weights.length, (from, to) => columnsOf(image, windows, out, from, to));
  return { width: outWidth, height, data };
}

/** Rows `begin`, an even one, to `end` of {@link resizeColumns}. */
function columnsOf(
  { height, width: inWidth, data: pixels }: RgbImage,
  { first, offset, weights }: Windows,
  out: Uint8ClampedArray,
  begin: number,
  end: number,
): void {
  const outWidth = first.length;
  for (let y = begin; y < end; y += 2) {
    const top = y * inWidth * 3;
    // The last row of an odd height is computed twice, into the same place.
    const toNext = y + 1 < height ? inWidth * 3 : 0;
    const outToNext = y + 1 < height ? outWidth * 3 : 0;
    let to = y * outWidth * 3;
    for (let x = 0; x < outWidth; x++) {
      let r0 = HALF;
      let g0 = HALF;
      let b0 = HALF;
      let r1 = HALF;
      let g1 = HALF;
      let b1 = HALF;
      const last = offset[x + 1]!;
      let p = top + first[x]! * 3;
      let q = p + toNext;
      for (let k = offset[x]!; k < last; k++) {
        const w = weights[k]!;
        r0 = (r0 + Math.imul(pixels[p]!, w)) | 0;
        g0 = (g0 + Math.imul(pixels[p + 1]!, w)) | 0;
        b0 = (b0 + Math.imul(pixels[p + 2]!, w)) | 0;
        r1 = (r1 + Math.imul(pixels[q]!, w)) | 0;
        g1 = (g1 + Math.imul(pixels[q + 1]!, w)) | 0;
        b1 = (b1 + Math.imul(pixels[q + 2]!, w)) | 0;
        p += 3;
        q += 3;
      }
      out[to] = r0 >> PRECISION_BITS;
      out[to + 1] = g0 >> PRECISION_BITS;
      out[to + 2] = b0 >> PRECISION_BITS;
      out[to + outToNext] = r1 >> PRECISION_BITS;
      out[to + outToNext + 1] = g1 >> PRECISION_BITS;
      out[to + outToNext + 2] = b1 >> PRECISION_BITS;
      to += 3;
    }
  }
}

/** [inHeight, width, 3] -> [outHeight, width, 3]; channels need no telling apart here. */
function* resizeRows(image: RgbImage, outHeight: number, filter: ResizeFilter): Steps<RgbImage> {
  const { width, height } = image;
  const windows = windowsOf(height, outHeight, FILTERS[filter]);
  const data = new Uint8Array(3 * width * outHeight);
  const out = new Uint8ClampedArray(data.buffer);
  const rowWeights = windows.weights.length / outHeight;
  yield* inBands(outHeight, width * rowWeights, (from, to) => rowsOf(image, windows, out, from, to));
  return { width, height: outHeight, data };
}

/** Rows `begin` to `end` of {@link resizeRows}. */
function rowsOf(
  { width, data: pixels }: RgbImage,
  { first, offset, weights }: Windows,
  out: Uint8ClampedArray,
  begin: number,
  end: number,
): void {
  const stride = width * 3;
  for (let y = begin; y < end; y++) {
    const firstWeight = offset[y]!;
    const lastWeight = offset[y + 1]!;
    const from = first[y]! * stride;
    const to = y * stride;
    for (let x = 0; x < stride; x += 3) {
      let r = HALF;
      let g = HALF;
      let b = HALF;
      let p = from + x;
      for (let k = firstWeight; k < lastWeight; k++) {
        const w = weights[k]!;
        r = (r + Math.imul(pixels[p]!, w)) | 0;
        g = (g + Math.imul(pixels[p + 1]!, w)) | 0;
        b = (b + Math.imul(pixels[p + 2]!, w)) | 0;
        p += stride;
      }
      out[to + x] = r >> PRECISION_BITS;
      out[to + x + 1] = g >> PRECISION_BITS;
      out[to + x + 2] = b >> PRECISION_BITS;
    }
  }
}
