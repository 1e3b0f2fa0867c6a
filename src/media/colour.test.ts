import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toRgb, type YuvImage, type YuvMatrix } from "./colour.ts";
import { atOnce } from "./steps.ts";

const WEIGHTS: Record<YuvMatrix, [kr: number, kb: number]> = {
  bt601: [0.299, 0.114],
  bt709: [0.2126, 0.0722],
  bt2020: [0.2627, 0.0593],
  fcc: [0.3, 0.11],
  smpte240m: [0.212, 0.087],
};

/** H.273's equations backwards, in floating point. */
function exactRgb(matrix: YuvMatrix, fullRange: boolean, bits: number, y: number, u: number, v: number) {
  const [kr, kb] = WEIGHTS[matrix];
  const scale = 2 ** (bits - 8);
  const luma = fullRange ? y / scale / 255 : (y / scale - 16) / 219;
  const [cb, cr] = [u, v].map((c) => (c / scale - 128) / (fullRange ? 255 : 224)) as [number, number];
  const red = luma + 2 * (1 - kr) * cr;
  const blue = luma + 2 * (1 - kb) * cb;
  const green = (luma - kr * red - kb * blue) / (1 - kr - kb);
  return [red, green, blue].map((c) => Math.min(255, Math.max(0, 255 * c)));
}

function picture(parts: Partial<YuvImage> & Pick<YuvImage, "width" | "height" | "planes">): YuvImage {
  return {
    layout: "yuv",
    chromaShift: [1, 1],
    bitDepth: 8,
    matrix: "bt601",
    fullRange: false,
    ...parts,
  };
}

const plane = (stride: number, ...data: number[]) => ({ data: Uint8Array.from(data), stride });

const convert = (image: YuvImage) => atOnce(toRgb(image));

describe("toRgb", () => {
  it("agrees with the equations of H.273 for every matrix, range and depth", () => {
    const sample = fc.record({
      matrix: fc.constantFrom(...(Object.keys(WEIGHTS) as YuvMatrix[])),
      fullRange: fc.boolean(),
      bitDepth: fc.constantFrom(8, 9, 10, 12, 14, 16),
      parts: fc.tuple(...[0, 1, 2].map(() => fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }))),
    });
    fc.assert(
      fc.property(sample, ({ matrix, fullRange, bitDepth, parts }) => {
        const [y, u, v] = parts.map((part) => Math.floor(part * 2 ** bitDepth)) as [number, number, number];
        const planes = [y, u, v].map((value) => ({
          data: bitDepth > 8 ? Uint16Array.of(value) : Uint8Array.of(value),
          stride: 1,
        }));
        const rgb = convert(picture({ width: 1, height: 1, planes, matrix, fullRange, bitDepth }));
        const exact = exactRgb(matrix, fullRange, bitDepth, y, u, v);
        // Half a level of rounding; 16-bit coefficients have only 8 fraction bits left.
        const tolerance = bitDepth > 12 ? 1.2 : 0.53;
        rgb.data.forEach((level, c) => {
          expect(Math.abs(level - exact[c]!)).toBeLessThanOrEqual(tolerance);
        });
      }),
    );
  });

  it("makes black, white and grey of limited-range levels", () => {
    const grey = (y: number) =>
      Array.from(
        convert(picture({ width: 1, height: 1, planes: [plane(1, y), plane(1, 128), plane(1, 128)] })).data,
      );
    expect(grey(16)).toEqual([0, 0, 0]);
    expect(grey(235)).toEqual([255, 255, 255]);
    expect(grey(126)).toEqual([128, 128, 128]);
    expect(grey(0)).toEqual([0, 0, 0]);
  });

  it("gives each 2 x 2 block its own chroma, also at odd edges, and skips the padding of rows", () => {
    const y = plane(4, 90, 90, 90, 0, 90, 90, 90, 0, 90, 90, 90, 0);
    const u = plane(3, 100, 160, 0, 200, 60, 0);
    const v = plane(3, 50, 90, 0, 130, 170, 0);
    const { data } = convert(picture({ width: 3, height: 3, planes: [y, u, v] }));
    const chroma = [
      [100, 50, 100, 50, 160, 90],
      [100, 50, 100, 50, 160, 90],
      [200, 130, 200, 130, 60, 170],
    ].flat();
    const expected = Array.from({ length: 9 }, (_, i) =>
      exactRgb("bt601", false, 8, 90, chroma[2 * i]!, chroma[2 * i + 1]!).map(Math.round),
    ).flat();
    expect(Array.from(data)).toEqual(expected);
  });

  it("reads NV12 as I420 with its chroma in turns", () => {
    const y = plane(2, 50, 100, 150, 200);
    const planar = convert(picture({ width: 2, height: 2, planes: [y, plane(1, 77), plane(1, 190)] }));
    const nv12 = convert(picture({ width: 2, height: 2, layout: "nv", planes: [y, plane(2, 77, 190)] }));
    expect(nv12).toEqual(planar);
  });

  it("passes grey and GBR through", () => {
    const grey = picture({ width: 1, height: 1, layout: "grey", fullRange: true, planes: [plane(1, 77)] });
    expect(Array.from(convert(grey).data)).toEqual([77, 77, 77]);
    const planes = [512, 1023, 4].map((level) => ({ data: Uint16Array.of(level), stride: 1 }));
    const gbr = picture({ width: 1, height: 1, layout: "gbr", bitDepth: 10, planes });
    expect(Array.from(convert(gbr).data)).toEqual([1, 128, 255]);
  });

  it("refuses planes that are shorter than the size says", () => {
    const y = plane(2, 1, 2, 3, 4);
    const short = picture({ width: 4, height: 4, planes: [y, y, y] });
    expect(() => convert(short)).toThrow(expect.objectContaining({ code: "media_malformed" }));
  });
});
