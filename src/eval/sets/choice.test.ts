import { describe, expect, it } from "vitest";
import { choiceIndex, withoutLetters } from "./choice.ts";

describe("a multiple choice", () => {
  it("has its letters once, however a file writes them", () => {
    expect(withoutLetters(["A. Black.", "B. Gray."])).toEqual(["Black.", "Gray."]);
    expect(withoutLetters(["(A) x", "(B) y"])).toEqual(["x", "y"]);
    expect(withoutLetters(["A) x", "B: y"])).toEqual(["x", "y"]);
    // Not all have theirs: then it is no lettering.
    expect(withoutLetters(["A. Milne", "Kipling"])).toEqual(["A. Milne", "Kipling"]);
    expect(withoutLetters(["B. x", "A. y"])).toEqual(["B. x", "A. y"]);
  });

  it.each([
    ["C", 2],
    ["(C)", 2],
    ["C.", 2],
    ["gray", 1],
    ["B. gray", 1],
    ["2", 2],
    ["D", undefined],
    ["7", undefined],
    ["grey", undefined],
  ])("knows that the answer %s is option %s", (answer, index) => {
    const options = ["black", "gray", "green"];
    expect(choiceIndex(answer, ["A. black", "B. gray", "C. green"], options, "any")).toBe(index);
  });

  it("takes an option's text before a letter or number, unless only numbers are meant", () => {
    expect(choiceIndex("2", ["1", "2", "3"], ["1", "2", "3"], "any")).toBe(1);
    expect(choiceIndex("2", ["1", "2", "3"], ["1", "2", "3"], "number")).toBe(2);
    expect(choiceIndex("A", ["B", "A"], ["B", "A"], "any")).toBe(1);
  });

  it("takes a letter for a letter where only those are meant, though it is another option's text", () => {
    const written = ["A. B", "B. D", "C. A", "D. C"];
    expect(choiceIndex("A", written, withoutLetters(written), "letter")).toBe(0);
    for (const other of ["E", "2", "D. C", "none"]) {
      expect(choiceIndex(other, written, withoutLetters(written), "letter")).toBeUndefined();
    }
  });
});
