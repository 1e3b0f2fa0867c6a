import { describe, expect, it } from "vitest";
import { RecordedIo, type Setting } from "../../test/support/recorded-io.ts";
import { Oryx } from "../node/oryx.ts";
import { splitWords } from "./chat-session.ts";
import { main } from "./main.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const IMAGE = `${GOLDEN}/media/image.png`;
const WIDE = `${GOLDEN}/media/wide.png`;

async function chat(lines: readonly string[], words: readonly string[] = [], setting: Setting = {}) {
  const io = new RecordedIo({ input: lines.map((line) => `${line}\n`).join(""), ...setting });
  const argv = ["chat", "--model", GOLDEN, "--context", "4096", "--max-tokens", "6", ...words];
  return { io, exitCode: await main(argv, io) };
}

interface Told {
  answer: string;
  plan: { items: unknown[]; cachedTokens: number; promptTokens: number };
  tokens: number;
  contextTokens?: number;
  error?: { code: string; message: string };
}
const told = (io: RecordedIo) =>
  io.out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Told);

describe("oryx chat with lines piped in", () => {
  it("answers each line, as a conversation through the library does", async () => {
    const { io, exitCode } = await chat(["What is this?", "", "And where?"], [IMAGE, "--json"]);
    const oryx = await Oryx.load(GOLDEN, { contextTokens: 4096 });
    const conversation = oryx.chat();
    const first = await conversation
      .ask({ media: [IMAGE], question: "What is this?", maxTokens: 6 })
      .answer();
    const second = await conversation.ask({ question: "And where?", maxTokens: 6 }).answer();
    await oryx.close();
    const answers = told(io);
    expect(answers.map(({ answer }) => answer)).toEqual([first.text, second.text]);
    expect(answers.map(({ plan }) => plan)).toEqual(JSON.parse(JSON.stringify([first.plan, second.plan])));
    expect(second.plan.cachedTokens).toBeGreaterThan(700);
    expect([exitCode, io.err]).toEqual([0, ""]);
  });

  it("prints plain text otherwise, a line for each answer, and no prompts", async () => {
    const { io } = await chat(["Hello?", "Again?"]);
    const json = told((await chat(["Hello?", "Again?"], ["--json"])).io);
    expect(io.out).toBe(json.map(({ answer }) => `${answer}\n`).join(""));
    expect(io.err).toBe("");
  });

  it("obeys /add, /info, /reset and /quit", async () => {
    const lines = [
      `/add ${IMAGE} '${WIDE}'`,
      "What?",
      "/info",
      "/reset",
      "/info",
      "Who?",
      "/quit",
      "Unheard?",
    ];
    const { io, exitCode } = await chat(lines, ["--json"]);
    const [both, used, none, fresh, ...more] = told(io);
    expect(both?.plan.items).toHaveLength(2);
    expect(used).toEqual({ tokens: (both?.plan.promptTokens ?? 0) + 6, contextTokens: 4096 });
    expect(none).toEqual({ tokens: 0, contextTokens: 4096 });
    expect(fresh?.plan).toMatchObject({ items: [], cachedTokens: 0 });
    expect([more, exitCode]).toEqual([[], 0]);
    const { io: plain } = await chat(["/help", `/add ${IMAGE}`, "/info", "/reset"]);
    expect(plain.out).toMatch(/\/add FILE/);
    expect(plain.out).toMatch(/1 file goes with the next question\n0 of 4,096 tokens used\nforgotten\n$/);
  });

  it("tells a failure, goes on, and exits with 1", async () => {
    const lines = ["/add nowhere.png", "/dance", `/add ${GOLDEN}/config.json`, "What?", "Now?"];
    const { io, exitCode } = await chat(lines, ["--json"]);
    const codes = told(io).map(({ error }) => error?.code);
    expect(codes).toEqual(["media_missing", "usage", "media_unsupported", undefined]);
    expect(exitCode).toBe(1);
  });

  it("keeps media for the next question when there was no room for them", async () => {
    const { io } = await chat(
      ["What?", "And now?"],
      [IMAGE, "--json", "--context", "200", "--compress", "1"],
    );
    expect(told(io).map(({ error }) => error?.code)).toEqual(["context_exceeded", "context_exceeded"]);
  });

  it("refuses a line that is too long, and hears the next", async () => {
    const { io } = await chat(["é".repeat(5_000_000), "Now?"], ["--json"]);
    expect(told(io).map(({ error }) => error?.code)).toEqual(["prompt_invalid", undefined]);
    expect(told(io)[0]?.error?.message).toBe("the line has more than 1,000,000 characters");
  });

  it("Ctrl-C stops an answer only, and the conversation is as before", async () => {
    let isPressed = false;
    const { io, exitCode } = await chat(["Count.", "/info"], ["--max-tokens", "2000"], {
      onOutput: (_, io) => {
        if (!isPressed) isPressed = io.interrupt();
      },
    });
    expect(io.out).toMatch(/^.{1,100}\n0 of 4,096 tokens used\n$/su);
    expect([exitCode, io.err]).toEqual([1, ""]);
  });

  it("Ctrl-C between answers ends it", async () => {
    const { io, exitCode } = await chat(["/info", "Unheard?"], [], {
      onOutput: (_, io) => void io.interrupt(),
    });
    expect(io.out).toBe("0 of 4,096 tokens used\n");
    expect(exitCode).toBe(130);
  });
});

describe("oryx chat on a terminal", () => {
  it("prompts, answers, and quits at the end of input without a complaint", async () => {
    const io = new RecordedIo({ input: "Hello?\n/dance\n", terminal: true });
    Object.assign(io.stdin, { isTTY: true, setRawMode: () => {} });
    const exitCode = await main(["chat", "--model", GOLDEN, "--max-tokens", "4"], io);
    expect(io.out.match(/> /g)?.length).toBeGreaterThanOrEqual(2);
    expect(io.screen).toEqual([
      "note: cut at 4 tokens (--max-tokens)",
      "error[usage]: there is no command /dance. /help lists them.",
    ]);
    expect(exitCode).toBe(0);
  });
});

describe("splitWords", () => {
  it("parts at blanks, but not within quotes", () => {
    expect(splitWords(`a.png  "my film.mp4" 'it''s'\tc`)).toEqual(["a.png", "my film.mp4", "it", "s", "c"]);
    expect(splitWords("")).toEqual([]);
  });
});
