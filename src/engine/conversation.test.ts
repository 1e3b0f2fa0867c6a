import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Oryx } from "../node/oryx.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const media = (name: string) => `${GOLDEN}/media/${name}`;
const frames = {
  frames: ["f0.png", "f1.png", "f2.png", "f3.png", "f4.png"].map((f) => ({ source: media(f) })),
};

interface GoldenCase {
  name: string;
  prompt: string;
  greedy: number[];
  sequence_length: number;
}
const cases = JSON.parse(readFileSync(`${GOLDEN}/cases.json`, "utf8")).cases as GoldenCase[];
const golden = (name: string) => cases.find((c) => c.name === name) as GoldenCase;

describe("a request", () => {
  let oryx: Oryx;
  beforeAll(async () => {
    oryx = await Oryx.load(GOLDEN, { contextTokens: 2048, conversations: 3 });
  });
  afterAll(() => oryx.close());

  it("counts before it works what the reference counts", async () => {
    const { prompt, sequence_length } = golden("image");
    const answer = await oryx.ask({ media: [media("image.png")], question: prompt, maxTokens: 4 }).answer();
    expect(answer.plan.promptTokens).toBe(sequence_length);
    expect(answer.tokens).toBe(4);
    expect(answer.finish).toBe("length");
  });

  it("treats a list of frames as one video, and reports the frames' times", async () => {
    const { prompt, sequence_length } = golden("video");
    const answer = await oryx.ask({ media: [frames], question: prompt, maxTokens: 4 }).answer();
    expect(answer.plan.promptTokens).toBe(sequence_length);
    expect(answer.plan.items[0]).toMatchObject({
      modality: "video",
      k: 2,
      size: { width: 320, height: 192 },
    });
    expect(answer.frameTimesS).toEqual([[0, 1, 2, 3, 4]]);
  });

  it("gives the streamed pieces as the whole answer", async () => {
    const stream = oryx.ask({ media: [media("wide.png")], question: "What is it?", maxTokens: 16 });
    let text = "";
    for await (const piece of stream) text += piece.text;
    expect((await stream.answer()).text).toBe(text);
    expect(await stream.answer()).toBe(await stream.answer());
  });

  it("is read once: a second reader is refused, and a failure is told to everyone who asks", async () => {
    const stream = oryx.ask({ question: "Hello?", maxTokens: 4 });
    const first = stream.answer();
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "busy" });
    expect((await first).tokens).toBe(4);
    const failing = oryx.ask({ question: "?", media: ["no/such.png"] });
    await expect(failing.answer()).rejects.toMatchObject({ code: "media_missing" });
    await expect(failing.answer()).rejects.toMatchObject({ code: "media_missing" });
    const left = oryx.ask({ question: "Hello?", maxTokens: 24 });
    for await (const _ of left) break;
    await expect(left.answer()).rejects.toMatchObject({ code: "aborted" });
  });

  it("takes pictures that someone chose as they are, whatever their times", async () => {
    const times = [0, 0.5, 7.25, 7.5];
    const chosen = { frames: times.map((timeS, i) => ({ source: media(`f${i}.png`), timeS })) };
    const ask = (request: object) =>
      oryx.ask({ question: "?", media: [chosen], maxTokens: 1, ...request }).answer();
    expect((await ask({})).frameTimesS).toEqual([times]);
    expect((await ask({ maxFrames: 2 })).frameTimesS).toEqual([[0, 7.5]]);
    expect((await ask({ fps: 1 })).plan.items[0]?.frameTimesS?.length).toBe(8);
  });

  it("takes bytes", async () => {
    const bytes = readFileSync(media("image.png"));
    const named = { bytes, name: "mine.png" };
    const { plan } = await oryx.ask({ question: "?", media: [bytes, named], maxTokens: 1 }).answer();
    expect(plan.items.map((item) => item.name)).toEqual([`${bytes.length} bytes`, "mine.png"]);
  });

  it.each([
    { media: "a.png" },
    { media: [null] },
    { media: [42] },
    { media: [{}] },
    { media: [{ bytes: new ArrayBuffer(4) }] },
    { media: [new URL("file:///a.png")] },
    { media: [{ frames: [1] }] },
    { question: 5 },
    { stop: "abc" },
    { stop: [1] },
    { system: 5 },
    { temperature: "0.5" },
    { maxTokens: null },
    { signal: {} },
    { onPlan: 1 },
  ])("of the wrong types is refused: %o", (wrong) => {
    const request = { question: "?", ...wrong } as unknown as Parameters<typeof oryx.ask>[0];
    expect(() => oryx.ask(request)).toThrow(expect.objectContaining({ code: "bad_option" }));
  });

  it("takes the compression that the request chooses", async () => {
    const tokens = async (compress: 1 | 2 | 4) => {
      const { plan } = await oryx
        .ask({ media: [media("image.png")], question: "?", compress, maxTokens: 1 })
        .answer();
      return plan.visualTokens;
    };
    const [one, two, four] = [await tokens(1), await tokens(2), await tokens(4)];
    expect(one).toBeGreaterThan(3 * two);
    expect(two).toBeGreaterThan(3 * four);
  });

  it("samples with a seed, and the same seed answers the same", async () => {
    const ask = (seed: number) =>
      oryx.ask({ question: "Hello?", temperature: 1.5, seed, maxTokens: 20 }).answer();
    expect((await ask(1)).text).toBe((await ask(1)).text);
    expect((await ask(1)).text).not.toBe((await ask(2)).text);
  });

  it("ends at a stop text, which it leaves out", async () => {
    const whole = await oryx.ask({ question: "Hello?", maxTokens: 24 }).answer();
    const stop = whole.text.slice(8, 11);
    const cut = await oryx.ask({ question: "Hello?", maxTokens: 24, stop: [stop] }).answer();
    expect(cut.finish).toBe("stop");
    expect(cut.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
  });

  it("is refused before any work when it does not fit, with the count and what to do", async () => {
    const started: string[] = [];
    const request = {
      media: Array.from({ length: 4 }, () => media("image.png")),
      question: "Compare them.",
      compress: 1 as const,
      onProgress: ({ stage }: { stage: string }) => started.push(stage),
    };
    await expect(oryx.ask(request).answer()).rejects.toMatchObject({
      code: "context_exceeded",
      message: expect.stringMatching(
        /takes 27\d\d tokens, 2692 of them for images and video, but the context holds 2048/,
      ),
      remedy: expect.stringContaining("compress"),
    });
    expect(started).toEqual([]);
  });

  it.each([
    [{ question: " " }, "prompt_invalid"],
    [{ question: "?", maxTokens: 0 }, "bad_option"],
    [{ question: "?", temperature: Number.NaN }, "bad_option"],
    [{ question: "?", stop: [""] }, "bad_option"],
    [{ question: "?", media: [media("image.png")], compress: 3 as 2 }, "bad_option"],
    [{ question: "?", media: [frames], fps: -1 }, "bad_option"],
    [{ question: "?", media: [frames], maxFrames: 0 }, "bad_option"],
    [{ question: "?", media: ["no/such/file.png"] }, "media_missing"],
    [{ question: "?", media: ["src"] }, "media_unreadable"],
    [{ question: "?", media: ["README.md"] }, "media_unsupported"],
  ] as const)("is refused: %o", async (request, code) => {
    await expect((async () => oryx.ask(request).answer())()).rejects.toMatchObject({ code });
  });

  it("is aborted at every stage, and leaves the model able to answer", async () => {
    const reference = await oryx.ask({ media: [frames], question: "What?", maxTokens: 6 }).answer();
    for (const stage of ["decode", "encode", "prefill", "generate"] as const) {
      const stop = new AbortController();
      const aborted = oryx.ask({
        media: [frames],
        question: "What?",
        signal: stop.signal,
        onProgress: (p) => p.stage === stage && stop.abort(),
      });
      await expect(aborted.answer()).rejects.toMatchObject({ code: "aborted" });
    }
    const again = await oryx.ask({ media: [frames], question: "What?", maxTokens: 6 }).answer();
    expect(again.text).toBe(reference.text);
  });

  it("left early gives its slot back", async () => {
    for (let i = 0; i < 8; i++) {
      for await (const _ of oryx.ask({ question: "Hello?", maxTokens: 24 })) break;
    }
    expect((await oryx.ask({ question: "Hello?", maxTokens: 1 }).answer()).tokens).toBe(1);
  });
});

describe("a conversation", () => {
  let oryx: Oryx;
  beforeAll(async () => {
    oryx = await Oryx.load(GOLDEN, { contextTokens: 4096, conversations: 2 });
  });
  afterAll(() => oryx.close());

  const turns = [
    { media: [media("image.png")], question: "Describe this image.", maxTokens: 8 },
    { question: "What is the color of the circle?", maxTokens: 8 },
    { media: [frames], question: "Describe the video in detail.", maxTokens: 8 },
  ];

  async function texts(order: readonly (typeof turns)[number][]): Promise<string[]> {
    const chat = oryx.chat();
    const out: string[] = [];
    for (const turn of order) out.push((await chat.ask(turn).answer()).text);
    chat.close();
    return out;
  }

  it("keeps what was said: a further turn costs its own tokens alone", async () => {
    const chat = oryx.chat();
    const first = await chat.ask(turns[0]!).answer();
    const second = await chat.ask(turns[1]!).answer();
    expect(second.plan.cachedTokens).toBe(first.plan.promptTokens + first.tokens);
    expect(second.plan.promptTokens).toBeLessThan(60);
    chat.close();
  });

  it("interleaved with another one gets the answers that it gets alone", async () => {
    const orders = [turns, turns.toReversed()] as const;
    const alone = [await texts(orders[0]), await texts(orders[1])];
    const chats = [oryx.chat(), oryx.chat()];
    const together: string[][] = [[], []];
    for (let t = 0; t < turns.length; t++) {
      await Promise.all(
        chats.map(async (chat, i) => {
          together[i]?.push((await chat.ask(orders[i]![t]!).answer()).text);
        }),
      );
    }
    for (const chat of chats) chat.close();
    expect(together).toEqual(alone);
  });

  it("is as it was before a turn that failed or was aborted", async () => {
    const [first, second] = await texts(turns);
    const chat = oryx.chat();
    expect((await chat.ask(turns[0]!).answer()).text).toBe(first);
    await expect(chat.ask({ question: "?", media: ["no/such.png"] }).answer()).rejects.toThrow();
    const stop = new AbortController();
    const aborted = chat.ask({ question: "Why?", signal: stop.signal, onProgress: () => stop.abort() });
    await expect(aborted.answer()).rejects.toMatchObject({ code: "aborted" });
    expect((await chat.ask(turns[1]!).answer()).text).toBe(second);
    chat.close();
  });

  it.each([{ system: 5 }, { sytem: "Be brief." }, null])("is not opened with %o", (wrong) => {
    const options = wrong as unknown as Parameters<typeof oryx.chat>[0];
    expect(() => oryx.chat(options)).toThrow(expect.objectContaining({ code: "bad_option" }));
  });

  it("takes a system prompt when it is opened, and with no turn", async () => {
    const [plain, told] = [oryx.chat(), oryx.chat({ system: "You answer in one word." })];
    const question = { question: "Hello?", maxTokens: 1 };
    const [without, withIt] = [await plain.plan(question), await told.plan(question)];
    expect(withIt.promptTokens).not.toBe(without.promptTokens);
    const late = { ...question, system: "You answer in one word." };
    const refused = expect.objectContaining({
      code: "bad_option",
      remedy: expect.stringContaining("chat()"),
    });
    expect(() => plain.ask(late)).toThrow(refused);
    await expect(plain.plan(late)).rejects.toEqual(refused);
    await expect(plain.likelihoods(late, ["a"])).rejects.toEqual(refused);
    plain.close();
    told.close();
    expect((await oryx.plan(late)).promptTokens).toBe(withIt.promptTokens);
  });

  it("closed while it computes ends its answer, and gives its slot back only then", async () => {
    const chat = oryx.chat();
    const other = oryx.chat();
    const running = chat.ask(turns[0]!).answer();
    await new Promise((resolve) => setTimeout(resolve, 5));
    chat.close();
    expect(() => oryx.chat()).toThrow(expect.objectContaining({ code: "busy" }));
    await expect(running).rejects.toMatchObject({ code: "closed" });
    oryx.chat().close();
    other.close();
  });

  it("closed while its reader holds a piece gives its slot back", async () => {
    const chat = oryx.chat();
    const other = oryx.chat();
    const reader = chat.ask({ question: "Hello?", maxTokens: 24 })[Symbol.asyncIterator]();
    await reader.next();
    chat.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    oryx.chat().close();
    other.close();
    await expect(reader.next()).rejects.toMatchObject({ code: "closed" });
  });

  it("answers one question at a time", async () => {
    const chat = oryx.chat();
    const running = chat.ask(turns[1]!).answer();
    await expect(chat.ask(turns[1]!).answer()).rejects.toMatchObject({ code: "busy" });
    await running;
    chat.close();
    await expect(chat.ask(turns[1]!).answer()).rejects.toMatchObject({ code: "closed" });
  });

  it("beyond the number that the model may hold is refused, and room comes back with a close", () => {
    const open = [oryx.chat(), oryx.chat()];
    expect(() => oryx.chat()).toThrow(expect.objectContaining({ code: "busy" }));
    for (const chat of open) chat.close();
    oryx.chat().close();
  });
});

describe("a plan", () => {
  const VIDEO = "test/fixtures/videos/sample.mp4";
  let oryx: Oryx;
  beforeAll(async () => {
    oryx = await Oryx.load(GOLDEN, { contextTokens: 4096, conversations: 2 });
  });
  afterAll(() => oryx.close());

  it.each([
    { question: "What?" },
    { media: [VIDEO], question: "What?", budgetTokens: 120 },
    { media: [VIDEO, media("image.png")], task: "describe", budgetTokens: 400 },
    { media: [VIDEO], task: "summarize", fps: 12, budgetTokens: 1300 },
    { media: [VIDEO], question: "What?", maxFrames: 100, fps: 30 },
    { media: [frames, VIDEO, frames], task: "steps", compress: 4 },
    { media: [media("wide.png")], question: "Which?", task: "mcq", options: ["a", "b"], frameArea: 150_000 },
  ] as const)("is what an answer takes, to the token: %o", async (request) => {
    const plan = await oryx.plan({ ...request, maxTokens: 3 });
    const chat = oryx.chat();
    for (const turn of [1, 2]) {
      const before = chat.tokens;
      const answer = await chat.ask({ ...request, maxTokens: 3 }).answer();
      if (turn === 1) expect(answer.plan).toEqual(plan);
      expect(chat.tokens).toBe(before + answer.plan.promptTokens + answer.tokens);
      expect(answer.plan.promptTokens).toBeLessThanOrEqual(
        "budgetTokens" in request ? request.budgetTokens : 4096,
      );
      const videos = answer.plan.items.filter(({ modality }) => modality !== "image");
      expect(answer.frameTimesS.map(({ length }) => length)).toEqual(
        videos.map((v) => v.frameTimesS?.length),
      );
    }
    chat.close();
  });

  it("is made from headers alone: a film with sound headers and no pictures has one", async () => {
    const bytes = readFileSync(VIDEO);
    const at = bytes.indexOf("mdat");
    bytes.fill(0, at + 4, at + 4 + bytes.readUInt32BE(at - 4) - 8);
    const whole = await oryx.plan({ media: [VIDEO], question: "What?" });
    const plan = await oryx.plan({ media: [{ bytes, name: VIDEO }], question: "What?" });
    expect(plan).toEqual(whole);
    const asked = oryx.ask({ media: [{ bytes, name: VIDEO }], question: "What?", maxTokens: 1 });
    await expect(asked.answer()).rejects.toMatchObject({ code: "media_malformed" });
  });

  it("keeps to seconds by the machine's speed", async () => {
    const { seconds } = await oryx.plan({ media: [VIDEO], question: "What?", budgetSeconds: 1e6 });
    for (const stage of ["decode", "encode", "prefill"] as const) expect(seconds?.[stage]).toBeGreaterThan(0);
    const impossible = oryx.plan({ media: [VIDEO], question: "What?", budgetSeconds: 1e-9 });
    await expect(impossible).rejects.toMatchObject({ code: "budget_exceeded" });
  });

  it("keeps to a budget of tokens that leaves the answer less room than it should have", async () => {
    const question = "What is it? ".repeat(620);
    const { promptTokens } = await oryx.plan({ question });
    expect(promptTokens).toBeGreaterThan(3700);
    const less = oryx.plan({ question, budgetTokens: promptTokens - 1 });
    await expect(less).rejects.toMatchObject({
      code: "budget_exceeded",
      message: expect.stringMatching(/takes at least [\d,]+ tokens, but may take [\d,]+$/),
    });
    const enough = await oryx.plan({ question, budgetTokens: promptTokens });
    const told = promptTokens.toLocaleString("en");
    expect(enough.reasons.at(-1)).toBe(`The prompt takes ${told} tokens and fits the budget of ${told}.`);
    const short = await oryx.plan({ question: "What?", budgetTokens: promptTokens });
    expect(short.reasons.at(-1)).toMatch(/fits the 3,585 that the context leaves it beside the answer\.$/);
  });

  it.each([{ budgetTokens: 0 }, { budgetTokens: 1.5 }, { budgetSeconds: -1 }, { budgetSeconds: Number.NaN }])(
    "refuses %o",
    async (budget) => {
      await expect(oryx.plan({ question: "What?", ...budget })).rejects.toMatchObject({ code: "bad_option" });
    },
  );

  it("leaves a conversation as it was", async () => {
    const chat = oryx.chat();
    const first = await chat.ask({ question: "Hello?", maxTokens: 4 }).answer();
    const before = chat.tokens;
    const plan = await chat.plan({ media: [VIDEO], question: "And now?", budgetSeconds: 1000, maxTokens: 4 });
    expect(chat.tokens).toBe(before);
    const next = await chat.ask({ media: [VIDEO], question: "And now?", maxTokens: 4 }).answer();
    expect(next.plan.promptTokens).toBe(plan.promptTokens);
    const again = oryx.chat();
    expect((await again.ask({ question: "Hello?", maxTokens: 4 }).answer()).text).toBe(first.text);
    expect((await again.ask({ media: [VIDEO], question: "And now?", maxTokens: 4 }).answer()).text).toBe(
      next.text,
    );
    again.close();
    chat.close();
  });
});
