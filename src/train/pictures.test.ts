import { describe, expect, it } from "vitest";
import type { Example } from "../data/example.ts";
import { exampleVisual } from "../data/visual.ts";
import type { RgbImage } from "../media/media.ts";
import { PUBLISHED_VIEWS } from "../model/views.ts";
import { visualTokens } from "../model/visual.ts";
import { pixelsOf, planPictures } from "./pictures.ts";

const SMALL = {
  ...PUBLISHED_VIEWS,
  image: { most: 128 ** 2, overview: 64 ** 2, stride: 32 },
  video: { least: 64 ** 2, most: 96 ** 2, stride: 32 },
};

function picture(width: number, height: number, level: number): RgbImage {
  return { width, height, data: new Uint8Array(3 * width * height).fill(level) };
}

const shows = (visuals: Example["visuals"]): Example => ({
  id: "test",
  prompt: [],
  labels: [],
  visuals,
  tokens: 0,
});

const examples = [
  shows([
    exampleVisual([picture(128, 96, 1)], "image", SMALL),
    exampleVisual([picture(96, 128, 2)], "image", SMALL),
  ]),
  shows([]),
  shows([exampleVisual([picture(96, 96, 3), picture(96, 96, 4), picture(96, 96, 5)], "video", SMALL)]),
  shows([exampleVisual([picture(128, 96, 6)], "image", SMALL)]),
];

describe("pictures of a step", () => {
  it("of one size and compression are computed together, up to the limit", () => {
    const sizes = (limit: number) =>
      planPictures(examples, limit).runs.map((r) => `${r.pictures.length} of ${r.width}x${r.height} k${r.k}`);
    expect(sizes(1000)).toEqual(["3 of 6x6 k2", "2 of 8x6 k1", "1 of 6x8 k1", "2 of 4x2 k1", "1 of 2x4 k1"]);
    expect(sizes(80)).toContain("2 of 6x6 k2");
    expect(sizes(1).every((s) => s.startsWith("1 of"))).toBe(true);
  });

  it("give each visual as many rows as the model counts, all its own but the marks", () => {
    const { sequences, rows } = planPictures(examples, 100);
    expect(sequences.map((s) => s.length)).toEqual([2, 0, 1, 1]);
    const seen = new Set([0, 1, 2]);
    examples.forEach(({ visuals }, i) => {
      visuals.forEach(({ shape, count }, v) => {
        const sequence = sequences[i]?.[v] as Int32Array;
        expect(sequence).toHaveLength(visualTokens(shape.modality, shape.views, shape.k, count));
        for (const row of sequence) {
          if (row >= 3) expect(seen.has(row)).toBe(false);
          seen.add(row);
        }
      });
    });
    expect(seen.size).toBe(rows);
  });

  it("that are shown several times are computed once, for each compression", () => {
    const [still, other] = [picture(96, 96, 7), picture(96, 96, 8)];
    const film = exampleVisual([still, still, other, still], "video", SMALL);
    const long = { ...film, shape: { ...film.shape, k: 1 } } as typeof film;
    const { runs, rows, sequences } = planPictures([shows([film, long]), shows([film])], 1000);
    expect(runs.map((r) => [r.k, r.pictures.map(({ data }) => data[0])])).toEqual([
      [2, [7, 8]],
      [1, [7, 8]],
    ]);
    const [first, second] = (sequences[0] as Int32Array[]).map((s) => [...s].filter((row) => row >= 3));
    const [a, b] = [first?.slice(0, 12), first?.slice(24, 36)];
    expect(first).toEqual([...(a as number[]), ...(a as number[]), ...(b as number[]), ...(a as number[])]);
    expect(sequences[1]?.[0]).toEqual(sequences[0]?.[0]);
    expect(new Set([0, 1, 2, ...(first as number[]), ...(second as number[])]).size).toBe(rows);
  });

  it("come in the sequence's order: overview before image, frame after frame, marks around them", () => {
    const { sequences, runs } = planPictures(examples, 1000);
    const levelOf = (row: number) => {
      if (row < 3) return ["begin", "sep", "end"][row];
      const run = runs.find((r) => row >= r.firstRow && row < r.firstRow + r.rows * r.pictures.length);
      return run?.pictures[Math.floor((row - run.firstRow) / run.rows)]?.data[0];
    };
    const order = (rows: Int32Array) =>
      Array.from(rows, levelOf).filter((level, i, all) => i === 0 || level !== all[i - 1]);
    expect(order(sequences[2]?.[0] as Int32Array)).toEqual(["begin", 3, "sep", 4, "sep", 5, "sep", "end"]);
    expect(order(sequences[0]?.[1] as Int32Array)).toEqual(["begin", 2, "sep", 2, "end"]);
    expect(pixelsOf(runs[0] as (typeof runs)[number]).slice(-1)).toEqual(Uint8Array.of(5));
  });
});
