import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import { COMPRESSIONS, MODALITIES, viewsOf, viewTokens, visualTokens } from "./visual.ts";

describe("sizes of views", () => {
  it("follow the published figures", () => {
    expect(viewTokens({ width: 448, height: 448 }, 2)).toBe(210); // 211 with the frame's separator
    expect(viewTokens({ width: 448, height: 448 }, 4)).toBe(56);
    const views = viewsOf({ width: 1920, height: 1080 }, "image", 1);
    expect(views).toEqual({ main: { width: 1920, height: 1056 }, low: { width: 512, height: 256 } });
    expect(visualTokens("image", views, 1, 1)).toBe(3 + 66 * 121 + 16 * 33); // about 8.6k
  });

  it("enlarge a sliver before anything else", () => {
    const views = viewsOf({ width: 300, height: 10 }, "image", 1);
    expect(views.enlarged).toEqual({ width: 1920, height: 64 });
    expect(views.main).toEqual({ width: 1920, height: 64 });
  });

  it("never lose a side: the slivers on which the released code fails become one stride", () => {
    expect(viewsOf({ width: 33, height: 700 }, "video", 2).main.width).toBe(64);
    expect(viewsOf({ width: 100, height: 3000 }, "video_long", 4).main.width).toBe(128);
  });

  it("refuse a picture that would become longer than any image may be", () => {
    expect(() => viewsOf({ width: 1, height: 60_000 }, "image", 1)).toThrow(OryxError);
  });

  it("hold whole regions for every size, path and compression", () => {
    const side = fc.integer({ min: 1, max: 8000 });
    fc.assert(
      fc.property(
        side,
        side,
        fc.constantFrom(...MODALITIES),
        fc.constantFrom(...COMPRESSIONS),
        (width, height, m, k) => {
          fc.pre(Math.max(width, height) / Math.min(width, height) < 100);
          const { main, low } = viewsOf({ width, height }, m, k);
          for (const view of low ? [main, low] : [main]) {
            for (const s of [view.width, view.height]) {
              expect(s).toBeGreaterThan(0);
              expect(s % (16 * k)).toBe(0);
            }
          }
        },
      ),
    );
  });
});
