import { describe, expect, it } from "vitest";
import { DEFAULT_COMPRESSION } from "../model/visual.ts";
import { PATCH } from "../model/vit.ts";
import { sightOf } from "./eye.ts";
import { composeSample, worldSample } from "./world.ts";

const PAGES = Array.from({ length: 400 }, (_, seed) =>
  composeSample(seed, { split: "train", kinds: { page: 1 } }),
);

const ROUNDING = 1e-9;

/** The words of an answer's things, in their order. */
const thingsOf = (answer: string): string[] => answer.split(/; |, |-/);

describe("a page", () => {
  it("is an image, or a frame of a video of either length", () => {
    const found = new Set(PAGES.map(({ modality }) => modality));
    expect(found).toEqual(new Set(["image", "video", "video_long"]));
  });

  it("tells row by row what is named on it", () => {
    for (const { turns, scenery } of PAGES) {
      const named = scenery.named ?? [];
      const things = thingsOf(turns[0]?.answer ?? "");
      expect(things.length).toBe(named.length);
      things.forEach((told, i) => {
        for (const word of named[i]?.words ?? []) expect(told).toContain(word);
      });
      const rows = (turns[0]?.answer ?? "").split("; ").map((row) => thingsOf(row).length);
      let at = 0;
      for (const length of rows) {
        const row = named.slice(at, at + length);
        expect(row.map(({ x }) => x)).toEqual(row.map(({ x }) => x).toSorted((p, q) => p - q));
        at += length;
      }
    }
  });

  it("keeps its things apart, and inside", () => {
    for (const { scenery } of PAGES) {
      const named = scenery.named ?? [];
      for (const [i, { x, y, width, height }] of named.entries()) {
        expect(Math.min(x - width / 2, y - height / 2)).toBeGreaterThan(-ROUNDING);
        expect(Math.max(x + width / 2, y + height / 2)).toBeLessThan(1 + ROUNDING);
        for (const other of named.slice(i + 1)) {
          const apartX = Math.abs(x - other.x) > (width + other.width) / 2 - ROUNDING;
          const apartY = Math.abs(y - other.y) > (height + other.height) / 2 - ROUNDING;
          expect(apartX || apartY).toBe(true);
        }
      }
    }
  });

  it("has no more things side by side than visual tokens", () => {
    for (const { modality, scenery } of PAGES) {
      const { encoded } = sightOf(scenery.size, modality);
      const side = PATCH * DEFAULT_COMPRESSION[modality];
      const tokens = (encoded.width * encoded.height) / side ** 2;
      expect(scenery.named?.length).toBeLessThanOrEqual(tokens);
    }
  });

  it("says what is named when it is drawn, and other samples do not", async () => {
    const page = await worldSample(3, { split: "train", kinds: { page: 1 } });
    expect(page.named?.length).toBeGreaterThan(0);
    expect(await worldSample(3, { split: "train", kinds: { count: 1 } })).not.toHaveProperty("named");
  });
});
