import { describe, expect, it } from "vitest";
import type { Answer, AskRequest, Plan } from "../../engine/request.ts";
import { type AskedModel, type AskSettings, choiceOf, setAnswerer, wordingOf } from "./ask.ts";
import type { ChoiceQuestion, OpenQuestion } from "./question.ts";

const choice: ChoiceQuestion = {
  kind: "choice",
  id: "q",
  media: [],
  text: "What opens?",
  options: ["a door", "a red box", "a box"],
  right: 1,
  categories: {},
};
const open: OpenQuestion = {
  kind: "open",
  id: "o",
  media: [],
  text: "Which?",
  answers: ["red"],
  categories: {},
};
const settings: AskSettings = {
  choice: "likelihood",
  wording: "published",
  maxTokens: 9,
  visual: { maxFrames: 4 },
};

const size = { width: 64, height: 32 };
const plan: Plan = {
  items: [{ name: "v", modality: "video", k: 2, source: size, size, frameTimesS: [0, 1], visualTokens: 5 }],
  visualTokens: 5,
  promptTokens: 9,
  cachedTokens: 0,
  contextTokens: 100,
  maxTokens: 9,
  isReduced: false,
  reasons: [],
};
const reused = { pictures: 0, promptTokens: 0 };
const timings = {
  decodeMs: 1.234,
  encodeMs: 0,
  prefillMs: 0,
  firstTokenMs: 0,
  totalMs: 9.99,
  tokensPerSecond: 1,
};

/** A model that says a text, and finds the second letter likeliest. */
function model(text: string) {
  const requests: AskRequest[] = [];
  const answer = { text, tokens: 3, plan, reused, timings } as Answer;
  const asked: AskedModel = {
    ask(request) {
      requests.push(request);
      return { answer: async () => answer };
    },
    async likelihoods(request, texts) {
      requests.push(request);
      const likelihoods = texts.map((t, i) => ({
        text: t,
        logProbability: i === 1 ? -0.5 : -3,
        tokens: 1,
        likeliest: i === 1 ? 1 : 0,
      }));
      return { likelihoods, plan, reused, timings, frameTimesS: [] };
    },
  };
  return { asked, requests };
}

describe("setAnswerer", () => {
  it("chooses the option whose letter is likeliest", async () => {
    const { asked, requests } = model("");
    const given = await setAnswerer(asked, settings)(choice, ["v.mp4"], { part: { fromS: 1, toS: 2 } });
    expect(given).toMatchObject({ got: "B", chosen: 1, likelihoods: [-3, -0.5, -3], tokens: 0 });
    expect(given.took.items).toEqual([{ name: "v", frames: 2, k: 2, size: "64x32", visualTokens: 5 }]);
    expect(given.took.timings.decodeMs).toBe(1.2);
    expect(requests[0]).toMatchObject({ media: ["v.mp4"], maxFrames: 4, part: { fromS: 1, toS: 2 } });
  });

  it("reads the option from what the model says, when asked to", async () => {
    const chosen = async (text: string) =>
      (await setAnswerer(model(text).asked, { ...settings, choice: "text" })(choice, [], {})).chosen;
    expect(await chosen("B. Because it is.")).toBe(1);
    expect(await chosen("I cannot tell.")).toBeNull();
  });

  it("answers in words as many as asked for", async () => {
    const { asked, requests } = model(" red \n");
    const given = await setAnswerer(asked, settings)(open, [], {});
    expect(given).toMatchObject({ got: "red", tokens: 3 });
    expect(given).not.toHaveProperty("chosen");
    expect(requests[0]).toMatchObject({ question: "Which?", maxTokens: 9 });
  });
});

describe("wordingOf", () => {
  it("is the published one, or that of the task", () => {
    expect(wordingOf(choice, settings)).toMatch(
      /^What opens\?\nA\. a door\nB\. a red box\nC\. a box\nAnswer with/,
    );
    expect(wordingOf(choice, { ...settings, instruction: "Letter:" })).toMatch(/\nC\. a box\nLetter:$/);
    const task = wordingOf(choice, { ...settings, wording: "task" });
    expect(task).toBe("What opens? A. a door B. a red box C. a box");
    expect(wordingOf(open, { ...settings, openInstruction: "In one word." })).toBe("Which?\nIn one word.");
  });
});

describe("choiceOf", () => {
  it.each([
    ["B", 1],
    ["(b)", 1],
    ["The answer is C.", 2],
    ["a red box", 1],
    ["A", 0],
    ["E", null],
    ["", null],
    ["something else", null],
  ])("takes %j for option %s", (text, index) => {
    expect(choiceOf(text, choice.options)).toBe(index);
  });
});
