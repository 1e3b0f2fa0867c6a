import { OryxError } from "../core/errors.ts";
import type { YuvImage, YuvMatrix } from "./colour.ts";

/** A picture in libav's terms: `format` by its name, planes as bytes, `linesize` in bytes. */
export interface AvPicture {
  width: number;
  height: number;
  format: string;
  planes: readonly Uint8Array[];
  linesize: readonly number[];
  /** H.273 matrix coefficients; 2 is "unspecified". */
  colourSpace: number;
  /** 0 unspecified, 1 limited, 2 full. */
  colourRange: number;
}

/** What the container says about colour, for pictures that say nothing themselves. */
export interface ContainerColour {
  matrix: YuvMatrix | undefined;
  fullRange: boolean | undefined;
}

/** log2 of luma samples per chroma sample, across and down. */
const CHROMA_SHIFTS: Readonly<Record<string, readonly [number, number]>> = {
  444: [0, 0],
  440: [0, 1],
  422: [1, 0],
  420: [1, 1],
  411: [2, 0],
  410: [2, 2],
};

const MATRICES: Readonly<Record<number, YuvMatrix>> = {
  1: "bt709",
  4: "fcc",
  5: "bt601",
  6: "bt601",
  7: "smpte240m",
  9: "bt2020",
  10: "bt2020",
};

/**
 * Views libav's planes as a {@link YuvImage}, without a copy.
 *
 * Colour: the picture's own tags, else the container's, else BT.601 in limited range, whatever the size: that is
 * what swscale assumes, and so what the published models saw.
 *
 * @throws OryxError `media_unsupported`: a pixel format that no decoder of the supported codecs should give
 */
export function yuvImage(picture: AvPicture, container: ContainerColour): YuvImage {
  const shape = pixelFormat(picture.format);
  if (!shape) {
    throw new OryxError(
      "media_unsupported",
      `the film has pixels of the format ${picture.format}`,
      "re-encode it as H.264 with 4:2:0 pixels (ffmpeg -pix_fmt yuv420p)",
    );
  }
  const bytesPerSample = shape.bitDepth > 8 ? 2 : 1;
  return {
    ...shape,
    width: picture.width,
    height: picture.height,
    planes: picture.planes.map((plane, i) => ({
      data: bytesPerSample === 2 ? words(plane) : plane,
      stride: (picture.linesize[i] ?? 0) / bytesPerSample,
    })),
    matrix: MATRICES[picture.colourSpace] ?? container.matrix ?? "bt601",
    fullRange:
      shape.fullRange ||
      (picture.colourRange === 0 ? (container.fullRange ?? false) : picture.colourRange === 2),
  };
}

type PixelFormat = Pick<YuvImage, "layout" | "chromaShift" | "bitDepth" | "fullRange">;

/** Reads a libav format name: yuv420p, yuvj422p (full range), yuva444p10le (alpha is left out), nv12, gray10le, gbrp. */
function pixelFormat(name: string): PixelFormat | undefined {
  const [, family, sampling, depth] =
    /^(yuv|yuvj|yuva|gray|gbrp|nv|p0)(\d{3}(?=p)|12$)?p?(\d+)?(?:le)?$/.exec(name) ?? [];
  const bitDepth = Number(depth ?? 8);
  if (family === "nv" && sampling === "12") return format("nv", "420", 8);
  // P010, P012, P016 keep their bits at the top of the word, so that all read as 16 bits.
  if (family === "p0") return format("nv", "420", 16);
  if (family === "gray") return format("grey", "444", bitDepth);
  if (family === "gbrp") return format("gbr", "444", bitDepth);
  if (family === undefined || sampling === undefined) return undefined;
  return { ...format("yuv", sampling, bitDepth), fullRange: family === "yuvj" };
}

function format(layout: YuvImage["layout"], sampling: string, bitDepth: number): PixelFormat {
  return { layout, chromaShift: CHROMA_SHIFTS[sampling] ?? [0, 0], bitDepth, fullRange: false };
}

/** Samples over 8 bits are little-endian words; a plane that starts on an odd byte has to move first. */
function words(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 1);
}
