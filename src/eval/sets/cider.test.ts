import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cider } from "./cider.ts";

describe("cider", () => {
  it("is what can be computed by hand", () => {
    const of = (said: string) =>
      cider([
        { said, answers: ["red cat"] },
        { said: "blue cat", answers: ["blue dog"] },
      ]);
    // Every run is in one of two questions, so all weigh the same. Two of four lengths of run are there at all.
    expect(of("red cat")[0]).toBeCloseTo(10 * (2 / 4), 12);
    // One of two words, no pair: a cosine of 1/2 for single words.
    expect(of("red cat")[1]).toBeCloseTo(10 * (1 / 2 / 4), 12);
    // Repeating it gains nothing: counts are clipped (2/4 and 1/sqrt(5)), and two pairs too many cost exp(-4/72).
    const repeated = (10 * Math.exp(-4 / 72) * (0.5 + 1 / Math.sqrt(5))) / 4;
    expect(of("red cat red cat")[0]).toBeCloseTo(repeated, 12);
  });

  it("is what another implementation of the paper's formulas gives", () => {
    const scores = cider([
      {
        said: "the red car turns left",
        answers: ["a red car turns left", "the car turns to the left side"],
      },
      { said: "two dogs run on the grass", answers: ["two dogs are running", "dogs run on the grass"] },
      { said: "nothing happens", answers: ["a man opens the door and walks out of the house"] },
      {
        said: "a man opens the door and walks out of the house and a man opens the door",
        answers: ["a man opens the door"],
      },
    ]);
    const expected = [4.673736015576163, 5.11348462206572, 0.0, 0.34146094236669844];
    scores.forEach((score, i) => {
      expect(score).toBeCloseTo(expected[i] as number, 10);
    });
  });

  it("says nothing of a single question, or of runs that all questions have", () => {
    expect(cider([{ said: "red cat", answers: ["red cat"] }])).toEqual([0]);
    const same = { said: "red cat", answers: ["red cat"] };
    expect(cider([same, same])).toEqual([0, 0]);
    expect(cider([])).toEqual([]);
  });

  it("lies between 0 and 10, is highest for the right answer, and does not care for the order of questions", () => {
    const text = fc.array(fc.constantFrom("red", "car", "turns", "left", "dog"), { maxLength: 9 });
    const question = fc.record({ said: text, answers: fc.array(text, { minLength: 1, maxLength: 3 }) });
    fc.assert(
      fc.property(fc.array(question, { minLength: 2, maxLength: 6 }), (list) => {
        const questions = list.map(({ said, answers }) => ({
          said: said.join(" "),
          answers: answers.map((answer) => answer.join(" ")),
        }));
        const scores = cider(questions);
        const single = questions.map(({ said, answers }) => ({ said, answers: answers.slice(0, 1) }));
        const best = cider(single.map(({ answers }) => ({ said: answers[0] ?? "", answers })));
        cider(single).forEach((score, i) => {
          expect(score).toBeLessThanOrEqual((best[i] as number) + 1e-9);
        });
        for (const score of scores) {
          expect(score).toBeGreaterThanOrEqual(0);
          expect(score).toBeLessThanOrEqual(10 + 1e-9);
        }
        const reversed = cider([...questions].reverse()).reverse();
        reversed.forEach((score, i) => {
          expect(score).toBeCloseTo(scores[i] as number, 9);
        });
      }),
    );
  });
});
