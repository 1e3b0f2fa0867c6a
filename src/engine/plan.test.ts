import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import type { Size } from "../core/size.ts";
import { PUBLISHED_VIEWS, type ViewLimits } from "../model/views.ts";
import { COMPRESSIONS, visualSequence } from "../model/visual.ts";
import { planVisuals } from "./plan.ts";
import type { ItemHeader, PlannedItem } from "./plan-item.ts";
import type { Budget, PlanRequest } from "./plan-request.ts";
import { fitLine, prefillSeconds, type Speed } from "./speed.ts";
import { TASKS } from "./task.ts";

const TINY: ViewLimits = {
  image: { most: 256 ** 2, overview: 64 ** 2, stride: 32 },
  video: { least: 96 ** 2, most: 128 ** 2, stride: 32 },
  video_long: { least: 96 ** 2, most: 128 ** 2, stride: 64 },
};
const SPEED: Speed = {
  encode: { perPatch: 1e-3, perPair: 1e-7 },
  prefill: { perToken: 1e-3, perPair: 1e-8 },
  perPixel: 1e-8,
};
const TEXT = 30;

const film = (durationS: number, size: Size = { width: 640, height: 360 }): ItemHeader => ({
  kind: "video",
  name: "film.mp4",
  size,
  durationS,
});
const photo = (width: number, height: number): ItemHeader => ({
  kind: "image",
  name: "photo.jpg",
  size: { width, height },
});
const allows = (tokens: number, seconds?: number): Budget => ({
  tokens,
  mostTokens: tokens,
  tokensBy: "request",
  seconds,
});

function plan(headers: readonly ItemHeader[], request: Partial<PlanRequest> = {}) {
  const rest = {
    options: {},
    limits: PUBLISHED_VIEWS,
    budget: allows(1e9),
    cachedTokens: 0,
    textTokens: () => TEXT,
  };
  return planVisuals(headers, { ...rest, ...request });
}
const only = ({ items }: { items: readonly PlannedItem[] }) => (items[0] as PlannedItem).plan;
const framesOf = (item: { frameTimesS?: readonly number[] | undefined }) => item.frameTimesS?.length ?? 1;

/** Tokens of an item, counted one by one from what the model is shown. */
function counted({ plan, shape }: PlannedItem): number {
  let tokens = 0;
  for (const part of visualSequence(plan.modality, framesOf(plan))) {
    if ("mark" in part) tokens++;
    else {
      const { width, height } = shape.views[part.view] as Size;
      for (let y = 0; y < height; y += 16 * plan.k) {
        for (let x = 0; x < width; x += 16 * plan.k) tokens++;
        tokens++;
      }
    }
  }
  return tokens;
}

describe("without a budget that matters, a plan follows the paper", () => {
  it("takes a frame a second of a short film, 64 of a longer one, at k = 2", () => {
    expect(only(plan([film(10)]))).toMatchObject({
      modality: "video",
      k: 2,
      size: { width: 640, height: 320 },
      fps: 1,
    });
    expect(only(plan([film(10)])).frameTimesS).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const long = only(plan([film(3600)]));
    expect(framesOf(long)).toBe(64);
    expect(long).toMatchObject({ modality: "video", k: 2 });
    expect(long.fps).toBeCloseTo(64 / 3600);
  });

  it("takes the frames of a long video where the task is about all of it", () => {
    for (const task of ["summarize", "steps"] as const) {
      const item = only(plan([film(3600)], { task }));
      expect([framesOf(item), item.modality, item.k]).toEqual([256, "video_long", 4]);
      expect(only(plan([film(60)], { task }))).toMatchObject({ modality: "video", k: 2 });
    }
  });

  it("shows a list of one picture once, at whatever rate", () => {
    const list = (timesS: number[], durationS: number) => ({ ...film(durationS), timesS });
    expect(only(plan([list([0], 1)], { options: { fps: 10 } })).frameTimesS).toEqual([0]);
    expect(only(plan([list([0, 0.5, 1], 1.5)], { options: { fps: 1 } })).frameTimesS).toEqual([0, 1]);
  });

  it("compresses images not at all, and adds an overview", () => {
    const item = only(plan([photo(800, 600)]));
    expect(item).toMatchObject({ k: 1, size: { width: 800, height: 576 } });
    expect(item.overview).toBeDefined();
  });

  it("says that nothing is reduced", () => {
    const { isReduced, reasons } = plan([film(3600), photo(800, 600)]);
    expect(isReduced).toBe(false);
    expect(reasons).toEqual([
      "film.mp4: 64 frames, evenly spread over 3,600 at 1 a second, the paper's rate: as many as the paper takes of a video.",
      "film.mp4: k = 2, so that 2 x 2 patches become one token: the paper's for videos.",
      "film.mp4: 640x360 encoded at 640x320: its own size, in steps of the model's grid.",
      "photo.jpg: k = 1, so that each patch becomes one token: the paper's for images.",
      "photo.jpg: 800x600 encoded at 800x576: its own size, in steps of the model's grid.",
      "The prompt takes 15,955 tokens and fits the budget of 1,000,000,000.",
    ]);
  });
});

describe("when a budget is too small, things give way in the order of the task", () => {
  const paper = plan([film(3600)]).promptTokens;

  it("for a question: frames down to half, then k, then the size, then the other frames", () => {
    const at = (tokens: number) => {
      const item = only(plan([film(3600)], { budget: allows(tokens) }));
      return { frames: framesOf(item), k: item.k, width: item.size.width };
    };
    expect(at(paper)).toEqual({ frames: 64, k: 2, width: 640 });
    expect(at(paper - 1)).toMatchObject({ frames: 63, k: 2 });
    const half = at(Math.ceil(paper * 0.55));
    expect(half).toMatchObject({ k: 2 });
    expect(half.frames).toBeGreaterThanOrEqual(32);
    expect(at(Math.floor(paper * 0.45))).toEqual({ frames: 64, k: 4, width: 640 });
    const small = at(Math.floor(paper * 0.1));
    expect(small.k).toBe(4);
    expect(small.width).toBeLessThan(640);
    expect(small.frames).toBeGreaterThanOrEqual(32);
    expect(at(100)).toMatchObject({ k: 4, frames: expect.any(Number) });
    expect(at(100).frames).toBeLessThan(5);
  });

  it("for a description: the size stays to the last", () => {
    for (const share of [0.5, 0.3, 0.1, 0.02]) {
      const item = only(plan([film(3600)], { task: "describe", budget: allows(Math.floor(paper * share)) }));
      expect(item.size.width * item.size.height).toBeGreaterThanOrEqual(640 * 320);
    }
    const item = only(plan([photo(1500, 1500)], { task: "describe", budget: allows(1500) }));
    expect(item).toMatchObject({ k: 4, size: { width: 1472, height: 1472 } });
  });

  it("for a summary: the frames stay to the last", () => {
    const all = plan([film(3600)], { task: "summarize" });
    for (const share of [0.9, 0.5]) {
      const item = only(
        plan([film(3600)], { task: "summarize", budget: allows(Math.floor(all.promptTokens * share)) }),
      );
      expect(framesOf(item)).toBe(256);
      expect(item.size.width * item.size.height).toBeLessThan(640 * 320);
    }
    expect(framesOf(only(plan([film(3600)], { task: "summarize", budget: allows(1000) })))).toBeLessThan(256);
  });

  it("says what happened, and in which order it does", () => {
    const { isReduced, reasons } = plan([film(3600)], { budget: allows(Math.floor(paper * 0.2)) });
    expect(isReduced).toBe(true);
    expect(reasons.join(" ")).toMatch(/k = 4, .*; 2, the paper's for videos, does not fit\./);
    expect(reasons.at(-2)).toBe(
      `Unreduced, the prompt would take ${paper.toLocaleString("en")} tokens, more than the budget of ${Math.floor(paper * 0.2).toLocaleString("en")}.`,
    );
    expect(reasons.at(-1)).toBe(
      "Of a question, this gives way in order: frames down to 1 in 2, then k up to 4, then the size down to the model's least, then the other frames.",
    );
  });

  it("treats several items alike", () => {
    const films = [film(3600), film(600), film(30)];
    const whole = plan(films);
    const { items } = plan(films, { budget: allows(Math.floor(whole.promptTokens * 0.6)) });
    const [a, b, c] = items.map((item) => framesOf(item.plan)) as [number, number, number];
    expect(a).toBe(b);
    expect(c / a).toBeCloseTo(30 / 64, 1);
    expect(new Set(items.map((item) => item.plan.k)).size).toBe(1);
  });

  it("keeps what the request fixes, and refuses what then does not fit", () => {
    const tight = allows(Math.floor(paper / 3));
    expect(only(plan([film(3600)], { budget: tight, options: { compress: 2 } })).k).toBe(2);
    expect(framesOf(only(plan([film(40)], { budget: allows(1500), options: { fps: 1 } })))).toBe(40);
    const area = 300 * 300;
    const item = only(plan([film(3600)], { budget: tight, options: { frameArea: area } }));
    const free = only(plan([film(3600)], { options: { frameArea: area } }));
    expect(item.size.width * item.size.height).toBeLessThanOrEqual(area);
    expect(free.size.width * free.size.height).toBeGreaterThan(0.7 * area);
    const all = { fps: 1, compress: 1, frameArea: 480 * 480 } as const;
    expect(() => plan([film(60)], { budget: tight, options: all })).toThrow(
      expect.objectContaining({ code: "budget_exceeded", message: expect.stringContaining("at least") }),
    );
  });

  it("tells the least that would do when nothing does, which then does", () => {
    for (const headers of [[film(3600)], [film(9), photo(900, 20)], []]) {
      let least = 0;
      try {
        plan(headers, { budget: allows(20) });
      } catch (error) {
        expect(error).toMatchObject({ code: "budget_exceeded" });
        least = Number(/allow (\d+)/.exec((error as OryxError).remedy)?.[1]);
      }
      expect(plan(headers, { budget: allows(least) }).promptTokens).toBe(least);
      expect(() => plan(headers, { budget: allows(least - 1) })).toThrow(OryxError);
    }
    const budget: Budget = { tokens: 10, mostTokens: 12, tokensBy: "context" };
    expect(() => plan([film(5)], { budget })).toThrow(expect.objectContaining({ code: "context_exceeded" }));
  });

  it("lets the answer have less room before it gives up", () => {
    const { promptTokens } = plan([film(3600)], { budget: allows(100) });
    const budget: Budget = { tokens: 20, mostTokens: 100, tokensBy: "context" };
    expect(plan([film(3600)], { budget }).promptTokens).toBe(promptTokens);
  });

  it.each([
    { fps: 0 },
    { fps: Number.NaN },
    { maxFrames: 0 },
    { maxFrames: 1.5 },
    { maxFrames: 10_001 },
    { compress: 3 as 2 },
    { frameArea: -1 },
    { frameArea: 100 },
    { frameArea: 1e6 },
  ])("refuses options that make no sense: %o", (options) => {
    expect(() => plan([film(10)], { options })).toThrow(expect.objectContaining({ code: "bad_option" }));
  });
});

describe("a budget of seconds", () => {
  it("takes as much as there is time for, and tells the time of each stage", () => {
    let before = 0;
    for (const seconds of [1, 5, 20, 100, 1e6]) {
      const { seconds: told, items } = plan([film(3600)], { budget: allows(1e9, seconds), speed: SPEED });
      const total = (told?.decode ?? 0) + (told?.encode ?? 0) + (told?.prefill ?? 0);
      expect(total).toBeGreaterThan(0);
      expect(total).toBeLessThanOrEqual(seconds);
      const [item] = items as [PlannedItem];
      const pixels = framesOf(item.plan) * item.plan.size.width * item.plan.size.height;
      expect(pixels).toBeGreaterThanOrEqual(before);
      before = pixels;
    }
    expect(() => plan([film(3600)], { budget: allows(1e9, 1e-4), speed: SPEED })).toThrow(
      expect.objectContaining({ code: "budget_exceeded", message: expect.stringContaining("seconds") }),
    );
  });

  it("does not compress more where that saves no time", () => {
    const slow = { ...SPEED, prefill: { perToken: 0, perPair: 0 } };
    for (const seconds of [1, 5, 20]) {
      const { items } = plan([film(3600)], { budget: allows(1e9, seconds), speed: slow });
      expect(items[0]?.plan.k).toBe(2);
    }
  });

  it("counts whole groups of pictures that have to be decoded", () => {
    const paced = (keyIntervalS: number): ItemHeader => ({
      ...(film(3600) as Extract<ItemHeader, { kind: "video" }>),
      pace: { framesPerSecond: 25, keyIntervalS },
    });
    const decode = (header: ItemHeader) => plan([header], { speed: SPEED }).seconds?.decode ?? 0;
    expect(decode(paced(10))).toBeGreaterThan(3 * decode(paced(1)));
    expect(decode(paced(3600))).toBeLessThan(decode(paced(36_000)) * 1.01);
  });

  it("is measured back from runs of which one meets more", () => {
    const speed = { each: 2e-3, pair: 5e-7 };
    const run = (tokens: number, cached: number) => {
      const perToken = { perToken: speed.each, perPair: speed.pair };
      return {
        met: cached + tokens / 2,
        seconds: prefillSeconds({ ...SPEED, prefill: perToken }, tokens, cached) / tokens,
      };
    };
    const found = fitLine(run(256, 10), run(2048, 10));
    expect(found.each).toBeCloseTo(speed.each, 9);
    expect(found.pair).toBeCloseTo(speed.pair, 12);
    expect(fitLine({ met: 1, seconds: 2 }, { met: 9, seconds: 1 })).toEqual({ each: 2, pair: 0 });
  });
});

describe("whatever is shown", () => {
  const side = fc.integer({ min: 1, max: 3000 });
  const size = fc.record({ width: side, height: side });
  const header: fc.Arbitrary<ItemHeader> = fc.oneof(
    size.map((size) => ({ kind: "image" as const, name: "i", size })),
    fc
      .record({ size, durationS: fc.double({ min: 0, max: 5000, noNaN: true }), chosen: fc.boolean() })
      .map(({ size, durationS, chosen }) => {
        const timesS = chosen
          ? Array.from({ length: Math.max(1, Math.ceil(durationS / 10)) }, (_, i) => 10 * i)
          : undefined;
        return { kind: "video" as const, name: "v", size, durationS, timesS };
      }),
  );
  const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const options = fc.record({
    fps: maybe(fc.double({ min: 0.01, max: 30, noNaN: true })),
    maxFrames: maybe(fc.integer({ min: 1, max: 2000 })),
    compress: maybe(fc.constantFrom(...COMPRESSIONS)),
  });
  const request = fc.record({
    headers: fc.array(header, { maxLength: 5 }),
    options,
    task: maybe(fc.constantFrom(...TASKS)),
    tokens: fc.oneof(fc.integer({ min: 40, max: 3000 }), fc.integer({ min: 40, max: 200_000 })),
    seconds: maybe(fc.double({ min: 0.1, max: 500, noNaN: true })),
    limits: fc.constantFrom(PUBLISHED_VIEWS, TINY),
  });

  it("a plan counts the tokens that the model is shown, fits its budget, and does as it was told", () => {
    fc.assert(
      fc.property(request, ({ headers, options, task, tokens, seconds, limits }) => {
        const speed = seconds === undefined ? undefined : SPEED;
        let found: ReturnType<typeof planVisuals>;
        try {
          found = plan(headers, { options, task, limits, budget: allows(tokens, seconds), speed });
        } catch (error) {
          expect(error).toBeInstanceOf(OryxError);
          expect(["budget_exceeded", "media_too_large"]).toContain((error as OryxError).code);
          return;
        }
        const visual = found.items.map(counted);
        expect(found.items.map((item) => item.plan.visualTokens)).toEqual(visual);
        expect(found.promptTokens).toBe(TEXT + visual.reduce((a, b) => a + b, 0));
        expect(found.promptTokens).toBeLessThanOrEqual(tokens);
        const total = Object.values(found.seconds ?? {}).reduce((a, b) => a + b, 0);
        expect(total).toBeLessThanOrEqual(seconds ?? 0);
        for (const [i, { plan, shape }] of found.items.entries()) {
          if (options.compress !== undefined) expect(plan.k).toBe(options.compress);
          expect(shape.k).toBe(plan.k);
          expect(shape.views.main).toEqual(plan.size);
          expect(framesOf(plan)).toBeLessThanOrEqual(options.maxFrames ?? 256);
          for (const time of plan.frameTimesS ?? []) {
            const { durationS } = headers[i] as { durationS: number };
            expect(time === 0 || time < durationS || headers[i]?.kind === "image").toBe(true);
          }
          expect(plan.size.width % (16 * plan.k)).toBe(0);
        }
        for (const reason of found.reasons) expect(reason).toMatch(/^[\w].*\.$/);
      }),
      { numRuns: 400 },
    );
  });

  it("more budget never shows less in tokens of a question about one film", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 300, max: 20_000 }),
        (durationS, tokens) => {
          const frames = (budget: number) =>
            framesOf(only(plan([film(durationS)], { task: "summarize", budget: allows(budget) })));
          expect(frames(tokens + 500)).toBeGreaterThanOrEqual(frames(tokens));
        },
      ),
    );
  });
});
