import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { normalised, words } from "../../text/words.ts";
import { exactMatch, rougeL, tokenF1 } from "./words.ts";

describe("measures of words", () => {
  it("take words without case and punctuation, and keep what is inside them", () => {
    expect(words("The left-hand door, isn't it? 3.5 m.")).toEqual([
      "the",
      "left-hand",
      "door",
      "isn't",
      "it",
      "3.5",
      "m",
    ]);
    expect(normalised(" The  red, CAR. ")).toBe("red car");
  });

  it("match exactly whatever the case, the articles and the full stop", () => {
    expect(exactMatch("The brown chair.", ["table", "brown chair"])).toBe(1);
    expect(exactMatch("brown chairs", ["brown chair"])).toBe(0);
    expect(exactMatch("", ["chair"])).toBe(0);
    expect(exactMatch("a", ["A"])).toBe(1);
    for (const said of ["", ".", "the"]) expect(exactMatch(said, ["A"])).toBe(0);
  });

  it("give the F1 of shared words, each as often as it is in both", () => {
    // 2 shared words of 3 said and 4 right: precision 2/3, recall 1/2.
    expect(tokenF1("red red car", ["red car turns left"])).toBeCloseTo(
      (2 * (2 / 3) * 0.5) / (2 / 3 + 0.5),
      12,
    );
    expect(tokenF1("nothing", ["red car", "nothing at all"])).toBeCloseTo(0.5, 12);
  });

  it("give the ROUGE-L of the evaluation of COCO captions", () => {
    // "police killed the gunman" against "police kill the gunman" (Lin 2004, section 3.1): 3 of 4 words in order.
    expect(rougeL("police kill the gunman", ["police killed the gunman"])).toBeCloseTo(0.75, 12);
    expect(rougeL("the gunman kill police", ["police killed the gunman"])).toBeCloseTo(0.5, 12);
    // Precision 1, recall 1/2: (1 + 1.44) * 0.5 / (0.5 + 1.44).
    expect(rougeL("red car", ["red car turns left"])).toBeCloseTo(1.22 / 1.94, 12);
    expect(rougeL("", ["a"])).toBe(0);
  });

  it("are 1 for the right answer, 0 for other words, and never anything else", () => {
    const text = fc.array(fc.constantFrom("red", "car", "turns", "left"), { minLength: 1 });
    fc.assert(
      fc.property(text, text, (a, b) => {
        const [said, right] = [a.join(" "), b.join(" ")];
        for (const measure of [exactMatch, tokenF1, rougeL]) {
          expect(measure(right, [right])).toBeCloseTo(1, 12);
          expect(measure("quite otherwise", [right])).toBe(0);
          const value = measure(said, [right]);
          expect(value).toBeGreaterThanOrEqual(0);
          expect(value).toBeLessThanOrEqual(1 + 1e-12);
          expect(measure(said, [right, said])).toBeCloseTo(1, 12);
        }
      }),
    );
  });
});
