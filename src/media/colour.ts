import { OryxError } from "../core/errors.ts";
import type { RgbImage } from "./media.ts";
import { inBands, type Steps } from "./steps.ts";

/** Which luma weights the film was made with (ITU-T H.273, "matrix coefficients"). */
export type YuvMatrix = "bt601" | "bt709" | "bt2020" | "fcc" | "smpte240m";

/** One plane of samples: 8 bits in bytes, more in little-endian words, `stride` samples from row to row. */
export interface Plane {
  data: Uint8Array | Uint16Array;
  stride: number;
}

/** A picture as decoders give it. */
export interface YuvImage {
  /** Size of the luma plane in pixels. */
  width: number;
  height: number;
  /** `yuv`: Y, U, V. `nv`: Y, then U and V in turns. `grey`: Y. `gbr`: G, B, R, no conversion needed. */
  layout: "yuv" | "nv" | "grey" | "gbr";
  planes: readonly Plane[];
  /** log2 of the luma samples per chroma sample, across and down: 4:2:0 is (1, 1), 4:2:2 (1, 0), 4:4:4 (0, 0). */
  chromaShift: readonly [x: number, y: number];
  /** Bits per sample, 8 to 16. */
  bitDepth: number;
  matrix: YuvMatrix;
  /** Full range (JPEG's) or limited ("studio", 16 to 235 in 8 bits). */
  fullRange: boolean;
}

/** Kr and Kb: the weights of red and blue in luma (H.273 table 4). */
const LUMA_WEIGHTS: Readonly<Record<YuvMatrix, readonly [kr: number, kb: number]>> = {
  bt601: [0.299, 0.114],
  bt709: [0.2126, 0.0722],
  bt2020: [0.2627, 0.0593],
  fcc: [0.3, 0.11],
  smpte240m: [0.212, 0.087],
};

/** Fraction bits of the fixed-point coefficients: sums stay under 2^31 and the error under 1/100 level. */
const FRACTION_BITS = 16;

/**
 * Converts a decoded picture to 8-bit RGB.
 *
 * Each chroma sample serves its whole block of pixels, as in swscale's own unscaled converter, which is what
 * ffmpeg and decord use; the arithmetic differs from swscale's tables, which round down, by at most three levels. High bit depths are
 * rounded, not tone-mapped: a film in PQ or HLG looks as flat as ffmpeg shows it.
 *
 * @param image its planes are only read, and no view of them is kept
 * @throws OryxError `media_malformed`: a plane is shorter than the size says
 */
export function* toRgb(image: YuvImage): Steps<RgbImage> {
  checkPlanes(image);
  const { width, height } = image;
  const data = new Uint8ClampedArray(3 * width * height);
  const convert = image.layout === "gbr" ? copyGbr : convertYuv;
  yield* inBands(height, width, (from, to) => convert(image, data, from, to));
  return { width, height, data: new Uint8Array(data.buffer) };
}

interface Coefficients {
  luma: number;
  redV: number;
  greenU: number;
  greenV: number;
  blueU: number;
  /** Luma's black, and half a unit for rounding, in fixed point. */
  bias: number;
}

/** R = luma * Y + redV * V' and so on, with U' and V' centred; from samples of any depth to 8 bits. */
function coefficients({ matrix, fullRange, bitDepth }: YuvImage): Coefficients {
  const [kr, kb] = LUMA_WEIGHTS[matrix];
  const kg = 1 - kr - kb;
  const unit = 2 ** (FRACTION_BITS - (bitDepth - 8));
  const chroma = unit * (fullRange ? 1 : 255 / 224);
  const luma = Math.round(unit * (fullRange ? 1 : 255 / 219));
  const black = fullRange ? 0 : 16 * 2 ** (bitDepth - 8);
  return {
    luma,
    redV: Math.round(chroma * 2 * (1 - kr)),
    blueU: Math.round(chroma * 2 * (1 - kb)),
    greenU: Math.round((chroma * 2 * (1 - kb) * kb) / kg),
    greenV: Math.round((chroma * 2 * (1 - kr) * kr) / kg),
    bias: 2 ** (FRACTION_BITS - 1) - luma * black,
  };
}

/** Rows `begin` to `end`. */
function convertYuv(image: YuvImage, out: Uint8ClampedArray, begin: number, end: number): void {
  const { width } = image;
  const [shiftX, shiftY] = image.chromaShift;
  const { luma, redV, greenU, greenV, blueU, bias } = coefficients(image);
  const centre = 2 ** (image.bitDepth - 1);
  const { data: ys, stride: yStride } = image.planes[0]!;
  const { u, v, stride: uvStride, step } = chromaPlanes(image);
  const pixelsPerChroma = 1 << shiftX;

  let to = 3 * width * begin;
  for (let row = begin; row < end; row++) {
    let y = row * yStride;
    let uv = (row >> shiftY) * uvStride;
    for (let left = width; left > 0; left -= pixelsPerChroma) {
      let red = bias;
      let green = bias;
      let blue = bias;
      if (step > 0) {
        const cb = u[uv]! - centre;
        const cr = v[uv]! - centre;
        red += redV * cr;
        green -= greenU * cb + greenV * cr;
        blue += blueU * cb;
        uv += step;
      }
      for (let n = Math.min(left, pixelsPerChroma); n > 0; n--) {
        const light = luma * ys[y++]!;
        out[to++] = (light + red) >> FRACTION_BITS;
        out[to++] = (light + green) >> FRACTION_BITS;
        out[to++] = (light + blue) >> FRACTION_BITS;
      }
    }
  }
}

/** Where U and V lie: apart, in turns, or (step 0) nowhere. */
function chromaPlanes({ layout, planes }: YuvImage) {
  const [y, u, v] = planes;
  if (layout === "grey") return { u: y!.data, v: y!.data, stride: 0, step: 0 };
  if (layout === "nv") return { u: u!.data, v: u!.data.subarray(1), stride: u!.stride, step: 2 };
  return { u: u!.data, v: v!.data, stride: u!.stride, step: 1 };
}

/** Rows `begin` to `end`. */
function copyGbr(
  { width, planes, bitDepth }: YuvImage,
  out: Uint8ClampedArray,
  begin: number,
  end: number,
): void {
  const [g, b, r] = planes as [Plane, Plane, Plane];
  const down = bitDepth - 8;
  const half = down > 0 ? 1 << (down - 1) : 0;
  let to = 3 * width * begin;
  for (let row = begin; row < end; row++) {
    for (let x = 0; x < width; x++) {
      out[to++] = (r.data[row * r.stride + x]! + half) >> down;
      out[to++] = (g.data[row * g.stride + x]! + half) >> down;
      out[to++] = (b.data[row * b.stride + x]! + half) >> down;
    }
  }
}

/** Typed arrays read past their end as undefined, that is as 0: a short plane would give a wrong picture silently. */
function checkPlanes({ width, height, layout, planes, chromaShift: [shiftX, shiftY] }: YuvImage): void {
  const count = { yuv: 3, nv: 2, grey: 1, gbr: 3 }[layout];
  const chroma = layout === "yuv" || layout === "nv";
  for (let i = 0; i < count; i++) {
    const subsampled = chroma && i > 0;
    const columns = subsampled ? -(-width >> shiftX) * (layout === "nv" ? 2 : 1) : width;
    const rows = subsampled ? -(-height >> shiftY) : height;
    const plane = planes[i];
    if (!plane || plane.stride < columns || plane.data.length < (rows - 1) * plane.stride + columns) {
      throw new OryxError(
        "media_malformed",
        `the decoder gave a ${width} x ${height} picture whose plane ${i} is too short`,
        "check the film with another player",
      );
    }
  }
}
