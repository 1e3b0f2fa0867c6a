import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import type { PromptToken } from "../text/prompt.ts";
import type { Identified } from "./features.ts";
import { isWorthKeeping, segmentsOf, type Trail, trailAfter, trailAfterAnswer } from "./prefix.ts";

const least = LIMITS.segmentTokens;
const question = [1, 2, 3];
const show = (...visuals: number[]): PromptToken[] => visuals.map((visual) => ({ visual }));

const token: fc.Arbitrary<PromptToken> = fc.oneof(
  fc.nat(50),
  fc.nat(3).map((visual) => ({ visual })),
);
const prompts = fc.array(token, { maxLength: 30 });
const lengths = fc.array(fc.integer({ min: 1, max: 2 * least }), { minLength: 4, maxLength: 4 });

describe("a prompt in segments", () => {
  it("ends each with a visual but for the last, which is the question", () => {
    const segments = segmentsOf([7, 8, ...show(0), 9, ...show(1), ...question], [100, 200]);
    expect(segments.map(({ tokens }) => tokens)).toEqual([[7, 8, ...show(0)], [9, ...show(1)], question]);
    expect(segments.map(({ length }) => length)).toEqual([102, 201, 3]);
  });

  it("leaves a visual of few tokens with what follows", () => {
    const segments = segmentsOf([7, ...show(0, 1), ...question], [5, 100]);
    expect(segments.map(({ visuals }) => visuals)).toEqual([[0, 1], []]);
  });

  it("loses no token, and counts them all", () => {
    fc.assert(
      fc.property(prompts, lengths, (prompt, tokens) => {
        const segments = segmentsOf(prompt, tokens);
        expect(segments.flatMap((s) => s.tokens)).toEqual(prompt);
        const total = prompt.reduce<number>(
          (n, t) => n + (typeof t === "number" ? 1 : (tokens[t.visual] as number)),
          0,
        );
        expect(segments.reduce((n, s) => n + s.length, 0)).toBe(total);
        for (const segment of segments.slice(0, -1)) {
          expect(typeof segment.tokens.at(-1)).toBe("object");
          expect(segment.length).toBeGreaterThanOrEqual(least);
        }
      }),
    );
  });

  it("is cut alike whatever comes behind a segment: what was kept fits", () => {
    fc.assert(
      fc.property(prompts, prompts, lengths, (prompt, more, tokens) => {
        const whole = segmentsOf([...prompt, ...more], tokens);
        const sure = segmentsOf(prompt, tokens).slice(0, -1);
        expect(whole.slice(0, sure.length)).toEqual(sure);
      }),
    );
  });
});

describe("a trail", () => {
  const media = [0, 1, 2, 3].map(
    (n) => ({ key: n === 3 ? undefined : { kind: "features", digest: `d${n}` } }) as unknown as Identified,
  );
  const segment = (tokens: readonly PromptToken[]) => ({ tokens, length: tokens.length, visuals: [] });
  const behind = (trail: Trail, tokens: readonly PromptToken[]) => trailAfter(trail, segment(tokens), media);

  it("tells apart what went through the model together from what went one after the other", () => {
    const trails = [
      behind("", [1, 2]),
      behind(behind("", [1]), [2]),
      trailAfterAnswer("", [1, 2]),
      behind("", [12]),
      behind("", show(1, 2)),
      behind("", [...show(1), 2]),
    ];
    // An answer's tokens go one by one, as those of two segments of one token do.
    expect(trails[2]).toBe(trails[1]);
    expect(new Set(trails).size).toBe(trails.length - 1);
  });

  it("is unknown after a medium that is not known, and stays so", () => {
    expect(behind("", [1, ...show(3)])).toBeUndefined();
    expect(behind(undefined, [1])).toBeUndefined();
    expect(trailAfterAnswer(undefined, [1])).toBeUndefined();
  });
});

describe("what is worth keeping", () => {
  it.each([
    ["Qwen2-7B on a CPU", 7_000 * 114_688, 330_000, true],
    ["a 0.5B on a CPU", 7_000 * 24_576, 11_000, true],
    ["a 7B on a fast GPU", 7_000 * 114_688, 350, false],
    ["a toy", 1_000 * 512, 0.1, true],
  ])("is read back much sooner than computed: %s, 7,000 tokens", (_, bytes, ms, worth) => {
    expect(isWorthKeeping(bytes, ms)).toBe(worth);
  });
});
