import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { RgbImage } from "./media.ts";
import { type ResizeFilter, resize, resizeInSteps } from "./resize.ts";

interface Golden {
  seed: number;
  blackWhite: boolean;
  width: number;
  height: number;
  toWidth: number;
  toHeight: number;
  filter: ResizeFilter;
  sha256: string;
}

const fixtures = new URL("../../test/fixtures/images/", import.meta.url);
const goldens: Golden[] = JSON.parse(readFileSync(new URL("resize.json", fixtures), "utf8"));

/** The picture that test/fixtures/images/README.md describes. */
function generated({ seed, blackWhite, width, height }: Golden): RgbImage {
  let x = seed;
  const data = Uint8Array.from({ length: 3 * width * height }, () => {
    x = (Math.imul(1664525, x) + 1013904223) >>> 0;
    return x >>> 24;
  });
  return { width, height, data: blackWhite ? data.map((v) => (v > 127 ? 255 : 0)) : data };
}

test.each(goldens)("resizes $width x $height to $toWidth x $toHeight ($filter) as Pillow does", (golden) => {
  const resized = resize(generated(golden), golden.toWidth, golden.toHeight, golden.filter);
  expect([resized.width, resized.height]).toEqual([golden.toWidth, golden.toHeight]);
  expect(createHash("sha256").update(resized.data).digest("hex")).toBe(golden.sha256);
});

test.each([
  [4001, 3001, 1001, 701, "bicubic"],
  [301, 203, 3000, 2001, "lanczos"],
  [3001, 2000, 3001, 99, "bilinear"],
] as const)(
  "gives the same bytes in steps: %d x %d to %d x %d (%s)",
  async (width, height, toWidth, toHeight, filter) => {
    const image = generated({ ...goldens[0]!, width, height });
    const before = createHash("sha256").update(image.data).digest("hex");
    const inSteps = await resizeInSteps(image, toWidth, toHeight, { filter });
    const atOnce = resize(image, toWidth, toHeight, filter);
    expect([inSteps.width, inSteps.height]).toEqual([toWidth, toHeight]);
    expect(Buffer.compare(inSteps.data, atOnce.data)).toBe(0);
    expect(createHash("sha256").update(image.data).digest("hex")).toBe(before);
  },
);

test("stops a large resize at the signal, and lets the event loop turn until then", async () => {
  const image = { width: 8000, height: 6000, data: new Uint8Array(3 * 8000 * 6000) };
  const controller = new AbortController();
  setImmediate(() => controller.abort());
  const resizing = resizeInSteps(image, 2000, 1500, { signal: controller.signal });
  await expect(resizing).rejects.toMatchObject({ code: "aborted" });
});

test("refuses a bad size in steps too", async () => {
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  await expect(resizeInSteps(image, 0, 1)).rejects.toMatchObject({ code: "bad_option" });
});

test("takes bicubic when no filter is named", () => {
  const golden = goldens.find((g) => g.filter === "bicubic" && g.toHeight > 1)!;
  const { data } = resize(generated(golden), golden.toWidth, golden.toHeight);
  expect(createHash("sha256").update(data).digest("hex")).toBe(golden.sha256);
});

test("keeps one colour one colour at any size", () => {
  const grey = { width: 31, height: 17, data: new Uint8Array(31 * 17 * 3).fill(77) };
  for (const filter of ["bicubic", "bilinear", "lanczos"] as const) {
    expect(new Set(resize(grey, 64, 5, filter).data)).toEqual(new Set([77]));
  }
});

test("gives new memory even when the size stays", () => {
  const image = { width: 1, height: 1, data: Uint8Array.of(1, 2, 3) };
  const same = resize(image, 1, 1);
  expect(same).toEqual(image);
  expect(same.data.buffer).not.toBe(image.data.buffer);
});

test.each([
  [0, 1],
  [1, -1],
  [Number.NaN, 1],
  [1.5, 1],
  [1, Number.POSITIVE_INFINITY],
  [65_536, 1],
  [65_535, 65_535],
])("refuses the size %d x %d", (width, height) => {
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  expect(() => resize(image, width, height)).toThrow(expect.objectContaining({ code: "bad_option" }));
});

test("refuses a picture whose bytes do not fit its size", () => {
  const image = { width: 2, height: 2, data: new Uint8Array(11) };
  expect(() => resize(image, 1, 1)).toThrow(expect.objectContaining({ code: "bad_option" }));
});

test("refuses a filter that it does not know", () => {
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  const filter = "toString" as ResizeFilter;
  expect(() => resize(image, 2, 2, filter)).toThrow(expect.objectContaining({ code: "bad_option" }));
});
