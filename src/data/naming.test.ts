import { expect, it } from "vitest";
import { visualSequence, visualShape, visualTokens } from "../model/visual.ts";
import { IGNORED } from "./example.ts";
import { type Namer, namingExample } from "./naming.ts";

const views = {
  image: { most: 64 ** 2, overview: 32 ** 2, stride: 32 },
  video: { least: 64 ** 2, most: 64 ** 2, stride: 32 },
  video_long: { least: 64 ** 2, most: 64 ** 2, stride: 64 },
};
const visualOf = (modality: "image" | "video", count: number, width = 64, height = 32) => ({
  shape: visualShape({ width, height }, modality, views),
  count,
  pictures: [],
});
/** Tells a region by its place: column, row and picture as digits. */
const placeOf: Namer = (picture, { x, y, width, height }) =>
  100 * picture + 10 * Math.floor(y / height) + Math.floor(x / width);

it("names each region of an image's main view, and neither its overview, its marks nor its newlines", () => {
  const visual = visualOf("image", 1);
  const { prompt, labels, rowLabels, tokens } = namingExample("one", visual, [placeOf], 64);
  const none = (n: number) => Array<number>(n).fill(IGNORED);
  const overview = 6; // of 32 x 32: two rows of two regions and a newline
  const main = [0, 1, 2, 3, IGNORED, 10, 11, 12, 13, IGNORED];
  expect(visualSequence("image", 1).length).toBe(5); // begin, overview, separator, main view, end
  expect([...(rowLabels?.[0] ?? [])]).toEqual([...none(1 + overview + 1), ...main, ...none(1)]);
  expect([prompt, labels]).toEqual([[{ visual: 0 }], [IGNORED]]);
  expect(tokens).toBe(rowLabels?.[0]?.length);
});

it("names each frame of a video by larger regions, once for each namer", () => {
  const visual = visualOf("video", 2, 64, 64);
  const namers = [placeOf, (...at: Parameters<Namer>) => 1000 + placeOf(...at)];
  const { rowLabels, tokens } = namingExample("two", visual, namers, 64);
  const named = (labels: Int32Array | undefined) => [...(labels ?? [])].filter((label) => label !== IGNORED);
  expect(rowLabels?.length).toBe(2);
  expect(named(rowLabels?.[0])).toEqual([0, 1, 10, 11, 100, 101, 110, 111]);
  expect(named(rowLabels?.[1])).toEqual(named(rowLabels?.[0]).map((label) => 1000 + label));
  expect(rowLabels?.[0]?.length).toBe(visualTokens("video", visual.shape.views, 2, 2));
  expect(() => namingExample("two", visual, namers, tokens - 1)).toThrow(`it has ${tokens} tokens`);
});
