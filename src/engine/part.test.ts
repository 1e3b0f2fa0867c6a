import { describe, expect, it } from "vitest";
import { PUBLISHED_VIEWS } from "../model/views.ts";
import { checkVisualOptions, type ItemHeader, itemAt, wantedItem } from "./plan-item.ts";
import type { VisualOptions } from "./request.ts";

const size = { width: 320, height: 240 };
const FILM: ItemHeader = { kind: "video", name: "film", size, durationS: 100 };
const SHOTS: ItemHeader = { kind: "video", name: "shots", size, durationS: 41, timesS: [0, 10, 20, 30, 40] };

function times(header: ItemHeader, options: VisualOptions): readonly number[] | undefined {
  checkVisualOptions(options);
  const wanted = wantedItem(header, options, PUBLISHED_VIEWS);
  return itemAt(wanted, { pictures: wanted.pictures, k: wanted.k, sizeStep: 0 }).plan.frameTimesS;
}

describe("a part of a video", () => {
  it("is sampled like a film that begins and ends with it, by the film's own clock", () => {
    expect(times(FILM, { part: { fromS: 20, toS: 24 } })).toEqual([20, 21, 22, 23]);
    expect(times(FILM, { part: { fromS: 20.5, toS: 60 }, maxFrames: 2 })).toEqual([20.5, 59.5]);
    expect(times(FILM, { part: { fromS: 0, toS: 2 }, fps: 2 })).toEqual([0, 0.5, 1, 1.5]);
  });

  it("ends where the film ends", () => {
    expect(times(FILM, { part: { fromS: 98, toS: 1000 } })).toEqual([98, 99]);
  });

  it("has the chosen pictures that lie in it", () => {
    expect(times(SHOTS, { part: { fromS: 10, toS: 40 } })).toEqual([10, 20, 30]);
  });

  it.each([
    [FILM, { fromS: 100, toS: 101 }],
    [FILM, { fromS: 5, toS: 5 }],
    [FILM, { fromS: -1, toS: 5 }],
    [FILM, { fromS: Number.NaN, toS: 5 }],
    [SHOTS, { fromS: 11, toS: 12 }],
  ])("is refused when nothing is in it", (header, part) => {
    expect(() => times(header, { part })).toThrow(expect.objectContaining({ code: "bad_option" }));
  });
});
