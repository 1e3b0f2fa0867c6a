import { describe, expect, it } from "vitest";
import { Random } from "../../core/random.ts";
import type { Given } from "./ask.ts";
import type { OpenQuestion } from "./question.ts";
import { meanOf, scoreRows } from "./scores.ts";
import { setTable } from "./table.ts";

const said = (id: string, got: string, answers: string[], way: string) => {
  const question: OpenQuestion = {
    kind: "open",
    id,
    media: [],
    text: "?",
    answers,
    categories: { way: [way] },
  };
  return { question, media: id, given: { got, tokens: 1 } as Given };
};

describe("scores of answers in words", () => {
  const rows = scoreRows([
    said("1", "red cat", ["red cat"], "a"),
    said("2", "blue cat", ["blue dog"], "b"),
    said("3", "whatever", [], "b"),
  ]);

  it("leave out what nobody knows, and have CIDEr among all questions in every row", () => {
    const [all, a, b] = rows;
    expect(all?.open).toMatchObject({
      exact: { questions: 2, rate: 0.5 },
      f1: { mean: 0.75 },
      rougeL: { mean: 0.75 },
    });
    expect(all?.open?.cider.mean).toBeCloseTo((5 + 1.25) / 2, 12);
    expect(a?.open?.cider.mean).toBeCloseTo(5, 12);
    expect(b?.open?.cider.mean).toBeCloseTo(1.25, 12);
  });

  it("make a table", () => {
    const lines = setTable(rows).split("\n");
    expect(lines[0]).toMatch(/^\| +\| questions +\| exact +\| F1 +\| ROUGE-L +\| CIDEr +\|$/);
    expect(lines[2]).toMatch(/^\| all +\| 2 +\| 50\.0 \(9\.5 to 90\.5\) +\| 75\.0 \(50\.0 to 100\.0\)/);
    expect(lines.map((line) => line.split("|")[1]?.trim())).toEqual(
      ["", "---", "all", "way", "- a", "- b"].map((cell) =>
        cell === "---" ? expect.stringMatching(/^-+$/) : cell,
      ),
    );
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  });
});

describe("meanOf", () => {
  it("has an interval as wide as theory says, and wider where answers about one video go together", () => {
    const random = new Random(7);
    const values = Array.from({ length: 400 }, (_, i) => ({ media: `${i}`, value: random.next() }));
    const { mean, low = 0, high = 0 } = meanOf(values);
    // The standard deviation of a uniform number is sqrt(1/12).
    const half = 1.96 * Math.sqrt(1 / 12 / 400);
    expect((high - low) / 2).toBeGreaterThan(0.8 * half);
    expect((high - low) / 2).toBeLessThan(1.2 * half);
    expect(mean).toBeGreaterThan(low);
    expect(mean).toBeLessThan(high);
    // Each number four times: half as many independent ones twice over.
    const together = values.flatMap((one) => [one, one, one, one]);
    const grouped = meanOf(together);
    expect(((grouped.high ?? 0) - (grouped.low ?? 0)) / 2).toBeGreaterThan(0.8 * half);
    const alone = meanOf(together.map((one, i) => ({ ...one, media: `${i}` })));
    expect(((alone.high ?? 0) - (alone.low ?? 0)) / 2).toBeLessThan(0.65 * half);
  });

  it("is the same every time, and has no interval from one video", () => {
    const values = [0, 1, 1, 0.5].map((value, i) => ({ media: `${i}`, value }));
    expect(meanOf(values)).toEqual(meanOf(values));
    expect(meanOf(values.map((one) => ({ ...one, media: "v" })))).toEqual({ questions: 4, mean: 0.625 });
  });
});
