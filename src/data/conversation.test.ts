import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeImage } from "../media/image.ts";
import { PUBLISHED_VIEWS } from "../model/views.ts";
import { visualShape } from "../model/visual.ts";
import {
  conversationPrompt,
  longVideoQuestion,
  type Message,
  type PromptToken,
  userMessage,
} from "../text/prompt.ts";
import { createTokenizer } from "../text/tokenizer.ts";
import {
  answerMessage,
  conversationExample,
  labelledPrompt,
  questionMessage,
  type RecordTurn,
  recordMessages,
} from "./conversation.ts";
import { type ExampleVisual, IGNORED } from "./example.ts";
import { exampleVisual } from "./visual.ts";

const fixture = (family: string, name: string) =>
  new URL(`../../test/fixtures/oryx-${family}-tiny/${name}`, import.meta.url);
const json = (family: string, name: string) => JSON.parse(readFileSync(fixture(family, name), "utf8"));
const tokenizerOf = (family: string) =>
  createTokenizer(json(family, "tokenizer.json"), json(family, "tokenizer_config.json"));

const [qwen, llama] = [tokenizerOf("qwen"), tokenizerOf("llama")];
/** Visuals as the reference writes them: -200. */
const ids = (prompt: readonly PromptToken[]) => prompt.map((t) => (typeof t === "number" ? t : -200));
const blank = (width: number, height: number) => ({
  width,
  height,
  data: new Uint8Array(3 * width * height),
});
const image = exampleVisual([blank(64, 64)], "image", PUBLISHED_VIEWS);
const example = (messages: readonly Message[], visuals: readonly ExampleVisual[] = [], maxTokens = 8192) =>
  conversationExample({ id: "one", messages, visuals, tokenizer: qwen, style: "qwen", maxTokens });

interface Golden {
  modality: "image" | "video";
  media: string[];
  conversations: RecordTurn[];
  input_ids: number[];
  labels: number[];
}

describe("a conversation to learn from", () => {
  it.each(json("qwen", "train_cases.json").samples as Golden[])(
    "has the reference's ids and labels: $media",
    async ({ modality, media, conversations, input_ids, labels }) => {
      const pictures = await Promise.all(
        media.map((name) => decodeImage(fixture("qwen", `media/${name}`).pathname)),
      );
      const visual = exampleVisual(pictures, modality, PUBLISHED_VIEWS);
      const made = example(recordMessages(conversations), [visual]);
      expect(ids(made.prompt)).toEqual(input_ids);
      expect(made.labels).toEqual(labels);
      expect(made.visuals).toEqual([visual]);
    },
  );

  it.each([
    ["qwen", qwen],
    ["llama", llama],
  ] as const)("has the tokens that the model is asked with, in the style of oryx_%s", (style, tokenizer) => {
    const messages = [
      userMessage([{ visual: 0 }, { text: "What is it?" }]),
      answerMessage("A red circle."),
      userMessage([{ text: "Sure?" }]),
      answerMessage("Yes."),
    ];
    const { prompt, labels } = labelledPrompt(tokenizer, style, messages, 1);
    expect(prompt).toEqual(conversationPrompt(tokenizer, style, messages, { reply: false }));
    const learnt = labels.filter((label) => label !== IGNORED);
    const marks = ["<|im_start|>", "<|im_end|>"].map((mark) => tokenizer.special(mark));
    const newline = tokenizer.encode("\n");
    const turn = (content: string) => [marks[0], ...tokenizer.encode(content), marks[1], ...newline];
    expect(learnt).toEqual([
      ...turn(""),
      ...turn(""),
      ...turn("A red circle."),
      ...turn(""),
      ...turn("Yes."),
    ]);
  });

  it("is a picture, its caption and a newline in the plain style, and only the words are learnt", () => {
    const turns: RecordTurn[] = [
      { from: "human", value: "Describe it.\n<image>" },
      { from: "gpt", value: "a cat on a mat" },
    ];
    const { prompt, labels } = labelledPrompt(qwen, "plain", recordMessages(turns), 1);
    const caption = qwen.encode("a cat on a mat\n");
    expect(prompt).toEqual([{ visual: 0 }, ...caption]);
    expect(labels).toEqual([IGNORED, ...caption]);
  });

  it("is as long as its text and the visual tokens that stand in it", () => {
    const messages = [questionMessage([image, image], "Alike?"), answerMessage("Yes.")];
    const made = example(messages, [image, image]);
    // 64 x 64 pixels are 4 x 5 tokens; the overview of 384 x 384 has 24 x 25, and there are three marks.
    expect(made.tokens).toBe(made.prompt.length - 2 + 2 * (20 + 600 + 3));
  });

  it("is refused when it is too long, and tells its length", () => {
    const messages = [questionMessage([image], "What?"), answerMessage("Nothing.")];
    const { tokens } = example(messages, [image]);
    expect(example(messages, [image], tokens).tokens).toBe(tokens);
    expect(() => example(messages, [image], tokens - 1)).toThrow(
      expect.objectContaining({
        code: "sample_too_long",
        message: expect.stringContaining(`${tokens} tokens`),
      }),
    );
  });

  it.each<[string, RecordTurn[], number]>([
    ["no answer", [{ from: "human", value: "Who?" }], 0],
    ["no question", [{ from: "gpt", value: "Me." }], 0],
    [
      "a placeholder without its image",
      [
        { from: "human", value: "<image>\nWho?" },
        { from: "gpt", value: "Me." },
      ],
      0,
    ],
    [
      "an image without its placeholder",
      [
        { from: "human", value: "Who?" },
        { from: "gpt", value: "<image>" },
      ],
      1,
    ],
    [
      "a text without end",
      [
        { from: "human", value: "Who?" },
        { from: "gpt", value: "a".repeat(1_000_001) },
      ],
      0,
    ],
  ])("is refused when it has %s", (_, turns, visuals) => {
    const make = () => example(recordMessages(turns), Array(visuals).fill(image));
    expect(make).toThrow(expect.objectContaining({ code: "sample_invalid" }));
  });

  it("never makes a marker out of what a record says", () => {
    const marks = ["<|im_start|>", "<|im_end|>", "<image>", "a", "\n", "\ud800"];
    const text = fc.array(fc.constantFrom(...marks), { maxLength: 6 }).map((words) => words.join(""));
    fc.assert(
      fc.property(text, text, (question, answer) => {
        const { prompt } = example([questionMessage([], question), answerMessage(answer)]);
        const special = prompt.filter((token) => qwen.specialIds.has(token as number));
        expect(special).toHaveLength(6);
        expect(prompt.every((token) => typeof token === "number")).toBe(true);
      }),
    );
  });
});

describe("the turns of a record", () => {
  const firstTurn = (value: string) => recordMessages([{ from: "human", value }])[0];

  it("have a lone placeholder moved to the front", () => {
    const front = firstTurn("<image>\nWhat is it?");
    expect(firstTurn("What is it?\n<image>")).toEqual(front);
    expect(firstTurn("  What <image>is it?")).toEqual(front);
  });

  it("keep several placeholders where they are, counted over all turns", () => {
    const turns: RecordTurn[] = [
      { from: "human", value: "From <image> to <image>?" },
      { from: "gpt", value: "Up." },
      { from: "human", value: "<image>\nAnd now?" },
    ];
    const places = recordMessages(turns).flatMap((m) => m.content.filter((part) => "visual" in part));
    expect(places).toEqual([{ visual: 0 }, { visual: 1 }, { visual: 2 }]);
  });
});

describe("a question about visuals", () => {
  it("tells of a long video that stands alone", () => {
    const long = {
      shape: visualShape({ width: 100, height: 100 }, "video_long", PUBLISHED_VIEWS),
      count: 70,
    };
    expect(questionMessage([long], "Where?").content.at(-1)).toEqual({
      text: longVideoQuestion(70, "Where?"),
    });
    expect(questionMessage([long, long], "Where?").content.at(-1)).toEqual({ text: "Where?" });
  });
});
