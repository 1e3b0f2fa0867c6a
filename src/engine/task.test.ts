import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lettered, letterOf } from "../text/choice.ts";
import { ASK_FILM, ASK_IMAGE, ASK_STEPS, GOALS, ICONS, so, tellSteps, VERBS } from "../world/language.ts";
import { checkTask, taskQuestion, taskResult } from "./task.ts";

const OPTIONS = ["red", "blue", "light blue", "a green star"];
const choice = (text: string) => taskResult("mcq", text, OPTIONS);
const steps = (text: string) => taskResult("steps", text);
const unparsed = { unparsed: expect.stringMatching(/^(the|its) /) };

describe("a task's question", () => {
  it("has the words of the training of oryx-tiny", () => {
    expect(ASK_FILM.summary).toContain(taskQuestion({ task: "summarize" }, ["video"]));
    expect(ASK_FILM.summary).toContain(taskQuestion({ task: "describe" }, ["video_long"]));
    expect(ASK_IMAGE.summary).toContain(taskQuestion({ task: "summarize" }, ["image"]));
    expect(ASK_IMAGE.describe).toContain(taskQuestion({ task: "describe" }, ["image"]));
    for (const goal of GOALS)
      expect(ASK_STEPS.how(goal)).toContain(taskQuestion({ task: "steps", question: goal }, ["video"]));
    const question = ASK_IMAGE.count[0] as string;
    expect(taskQuestion({ task: "mcq", question, options: OPTIONS }, ["image"])).toBe(
      lettered(question, OPTIONS),
    );
  });

  it("names what is shown, and is followed by what else was asked", () => {
    expect(taskQuestion({ task: "summarize" }, ["image", "image", "video"])).toBe(
      "Summarise the images and video.",
    );
    expect(taskQuestion({ task: "summarize", question: "Be short." }, [])).toBe(
      "Summarise what was shown. Be short.",
    );
    expect(taskQuestion({ task: "steps" }, ["video"])).toBe("What are the steps?");
    expect(taskQuestion({ task: "steps", question: "How is it done?" }, ["video"])).toBe("How is it done?");
    expect(taskQuestion({ question: " As it is " }, ["video"])).toBe(" As it is ");
  });

  it.each([
    [{ task: "mcq", question: "?", options: [] }, "bad_option"],
    [{ task: "mcq", question: "?", options: ["one"] }, "bad_option"],
    [{ task: "mcq", question: "?", options: ["one", " "] }, "bad_option"],
    [{ task: "mcq", question: "?", options: ["one", "One."] }, "bad_option"],
    [{ task: "mcq", question: "?", options: Array.from({ length: 27 }, String) }, "bad_option"],
    [{ task: "mcq", options: ["a", "b"] }, "prompt_invalid"],
    [{ question: "?", options: ["a", "b"] }, "bad_option"],
    [{ question: " " }, "prompt_invalid"],
  ] as const)("is refused: %o", (asked, code) => {
    expect(() => checkTask(asked)).toThrow(expect.objectContaining({ code }));
  });
});

describe("the answer to a multiple choice", () => {
  it.each([
    ["B", "B", null],
    ["b", "B", null],
    ["(b)", "B", null],
    ["[B]: it is", "B", "it is"],
    [" B.\n", "B", null],
    ["B. Because the star is blue.", "B", "the star is blue."],
    ["B) blue", "B", null],
    ["B. blue. Because the star is.", "B", "the star is."],
    ["B because it is", "B", "it is"],
    ["B - it is", "B", "it is"],
    ["**B**", "B", null],
    ["Answer: B", "B", null],
    ["The answer is B", "B", null],
    ["The correct answer is (B), because it shines.", "B", "it shines."],
    ["Option B", "B", null],
    ["So the best option is option C: it is pale", "C", "it is pale"],
    ["blue", "B", null],
    ["Blue.", "B", null],
    ["light blue", "C", null],
    ["Light blue, because of the sky.", "C", "of the sky."],
    ["The answer is: light blue", "C", null],
    ["A green star.", "D", null],
    ["The green star. Because it twinkles.", "D", "it twinkles."],
    ["D. A green star because it twinkles", "D", "it twinkles"],
    ["The star is blue, so B.", "B", "The star is blue"],
    ["It is the sky. Therefore, the answer is (C)", "C", "It is the sky"],
    ["It twinkles, so it shines, so option D", "D", "It twinkles, so it shines"],
  ])("is read: %j is %s", (text, letter, reason) => {
    const option = OPTIONS[letter.charCodeAt(0) - 65];
    expect(choice(text)).toEqual({ task: "mcq", letter, option, reason });
  });

  it.each([
    "",
    "...",
    "A red star",
    "I do not know",
    "Because it is blue",
    "E",
    "Z. Because",
    "A or B",
    "A, B",
    "A and (B)",
    "A/B",
    "A. blue",
    "bluebird",
    "blue and red",
    "Both",
    "Answer",
    "It shines, so",
    "It shines, so A or B",
    "It shines, so E.",
    "It shines, so be it.",
  ])("is not made up: %j", (text) => {
    expect(choice(text)).toEqual({ task: "mcq", ...unparsed });
  });

  it("is found for every letter and reason of the training's form", () => {
    const reasons = fc.stringMatching(/^[a-z]{2,9}( [a-z]{2,9}){1,4}$/);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3 }), reasons, (index, reason) => {
        const [letter, option] = [letterOf(index), OPTIONS[index]];
        const read = choice(so([`the ${reason}`], letter));
        expect(read).toEqual({ task: "mcq", letter, option, reason: `The ${reason}` });
      }),
    );
  });

  it("never fails to be told or refused, whatever the model says", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }),
        fc.constantFrom("mcq", "steps", "describe"),
        (text, task) => {
          const result = taskResult(task, text, OPTIONS);
          expect(result.task).toBe(task);
          if ("letter" in result) expect(OPTIONS[result.letter.charCodeAt(0) - 65]).toBe(result.option);
          if ("steps" in result) for (const step of result.steps) expect(text).toContain(step);
        },
      ),
    );
  });
});

describe("a list of steps", () => {
  it.each([
    [
      "To send a photo: 1. open Mail 2. click Camera 3. type Search",
      ["open Mail", "click Camera", "type Search"],
    ],
    ["1. Open it.\n2. Close it.", ["Open it.", "Close it."]],
    ["1) open\n2) close", ["open", "close"]],
    ["Step 1: open\nStep 2: close", ["open", "close"]],
    ["**1.** open\n**2.** close", ["open", "close"]],
    ["First:\n- open Mail\n- close it", ["open Mail", "close it"]],
    ["* open\n* close", ["open", "close"]],
    ["1. only", ["only"]],
    ["1. go to page 12. Then on 2. read", ["go to page 12. Then on", "read"]],
  ])("is read: %j", (text, expected) => {
    expect(steps(text)).toEqual({ task: "steps", steps: expected });
  });

  it.each(["", "open Mail", "1. open 3. close", "2. open 3. close", "First open, then close."])(
    "is not made up: %j",
    (text) => {
      expect(steps(text)).toEqual({ task: "steps", ...unparsed });
    },
  );

  it("is found for every list of the training's form", () => {
    const step = fc.record({ verb: fc.constantFrom(...VERBS), icon: fc.constantFrom(...ICONS) });
    fc.assert(
      fc.property(
        fc.constantFrom(...GOALS),
        fc.array(step, { minLength: 1, maxLength: 12 }),
        (goal, list) => {
          const told = list.map(({ verb, icon }) => `${verb} ${icon}`);
          expect(steps(tellSteps(goal, list))).toEqual({ task: "steps", steps: told });
        },
      ),
    );
  });
});
