import { describe, expect, it } from "vitest";
import { choicePrompt } from "./choice.ts";

describe("a multiple choice", () => {
  it("is worded with its options below it, each behind its letter", () => {
    expect(choicePrompt("What is it?", ["a cat", "a dog"])).toBe(
      "What is it?\nA. a cat\nB. a dog\nAnswer with the option's letter from the given choices directly.",
    );
    expect(choicePrompt("What is it?", ["a cat", "a dog"], "")).toBe("What is it?\nA. a cat\nB. a dog");
  });
});
