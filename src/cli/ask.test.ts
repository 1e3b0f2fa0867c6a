import { readFileSync } from "node:fs";
import { cp, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { RecordedIo, type Setting } from "../../test/support/recorded-io.ts";
import { PACKAGED_MODEL } from "../node/packaged.ts";
import { openTokenizer } from "../weights/tokenizer.ts";
import { main } from "./main.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const media = (name: string) => `${GOLDEN}/media/${name}`;
const FRAMES = ["f0.png", "f1.png", "f2.png", "f3.png", "f4.png"].map(media);

interface GoldenCase {
  name: string;
  prompt: string;
  greedy: number[];
  input_ids: number[];
  sequence_length: number;
}
const cases = JSON.parse(readFileSync(`${GOLDEN}/cases.json`, "utf8")).cases as GoldenCase[];
const golden = (name: string) => cases.find((c) => c.name === name) as GoldenCase;
/** What the reference counted for a case's pictures: everything but its text. */
const visualTokens = ({ sequence_length, input_ids }: GoldenCase) => sequence_length - (input_ids.length - 1);
/** What the reference said, as text. */
const said = async (name: string) => (await openTokenizer(GOLDEN)).decode(golden(name).greedy);

async function ask(words: readonly string[], setting: Setting = {}) {
  const io = new RecordedIo(setting);
  const exitCode = await main(
    ["ask", "--model", GOLDEN, "--context", "4096", "--max-tokens", "24", ...words],
    io,
  );
  return { io, exitCode };
}

describe("oryx ask", () => {
  it("says of an image what the reference said, then a newline, and nothing else", async () => {
    const { io, exitCode } = await ask([media("image.png"), golden("image").prompt]);
    expect(io.out).toBe(`${await said("image")}\n`);
    expect(io.err).toBe("");
    expect(exitCode).toBe(0);
  });

  it("answers as the words come, not at the end", async () => {
    const outputs: string[] = [];
    await ask([golden("text").prompt], { onOutput: (out) => outputs.push(out) });
    expect(outputs.length).toBeGreaterThan(5);
  });

  it("takes several images, and a question without any", async () => {
    const { io } = await ask([media("image.png"), media("wide.png"), "What is it?", "--json"]);
    const { plan } = JSON.parse(io.out);
    expect(plan.items.map(({ name }: { name: string }) => name)).toEqual([
      media("image.png"),
      media("wide.png"),
    ]);
    expect(plan.visualTokens).toBe(visualTokens(golden("image")) + visualTokens(golden("image_wide")));
    const text = await ask([golden("text").prompt]);
    expect(text.io.out).toBe(`${await said("text")}\n`);
  });

  it("takes --frames as one video, --fps of them a second", async () => {
    const { io } = await ask(["--frames", ...FRAMES, golden("video").prompt]);
    expect(io.out).toBe(`${await said("video")}\n`);
    const json = await ask(["--frames", "--fps", "2", ...FRAMES, "What moves?", "--json"]);
    const { plan, frameTimesS } = JSON.parse(json.io.out);
    expect(plan.items).toHaveLength(1);
    expect(plan.items[0]).toMatchObject({ modality: "video", frameTimesS: [0, 0.5, 1, 1.5, 2] });
    expect(frameTimesS).toEqual([[0, 0.5, 1, 1.5, 2]]);
  });

  it("takes the images of a folder as frames", async () => {
    const { io } = await ask(["--frames", `${GOLDEN}/media`, "What?", "--json", "--max-tokens", "1"]);
    expect(JSON.parse(io.out).plan.items[0].frameTimesS).toHaveLength(7);
  });

  it("hands sampling, compression, context and length on", async () => {
    const changed = [
      "--temperature",
      "1.5",
      "--seed",
      "7",
      "--top-k",
      "50",
      "--top-p",
      ".9",
      "--repetition-penalty",
      "1.2",
    ];
    const warm = await ask([golden("text").prompt, ...changed]);
    const again = await ask([golden("text").prompt, ...changed]);
    const other = await ask([golden("text").prompt, ...changed, "--seed", "8"]);
    expect(warm.io.out).toBe(again.io.out);
    expect(warm.io.out).not.toBe(other.io.out);
    const { io } = await ask([
      media("image.png"),
      "What?",
      "--json",
      "--compress",
      "4",
      "--context",
      "900",
      "--max-tokens",
      "2",
    ]);
    const { plan, tokens } = JSON.parse(io.out);
    expect(plan).toMatchObject({ contextTokens: 900, maxTokens: 2, items: [{ k: 4 }] });
    expect(tokens).toBe(2);
  });

  it("hands the system prompt, the device, the threads and the vision tower on", async () => {
    const promptTokens = async (...words: string[]) => {
      const { io } = await ask(["Hello?", "--json", "--max-tokens", "1", ...words]);
      return JSON.parse(io.out).plan.promptTokens as number;
    };
    expect(await promptTokens("--system", "Speak. ".repeat(50))).toBeGreaterThan((await promptTokens()) + 50);
    expect(await promptTokens("--device", "cpu", "--threads", "1")).toBe(await promptTokens());
    const folder = await mkdtemp(join(tmpdir(), "oryx-towerless-"));
    try {
      await cp(GOLDEN, folder, { recursive: true });
      await rename(join(folder, "oryx_vit.pth"), join(folder, "elsewhere.pth"));
      const words = ["--model", folder, media("image.png"), golden("image").prompt];
      const { io } = await ask([...words, "--vision-tower", join(folder, "elsewhere.pth")]);
      expect(io.out).toBe(`${await said("image")}\n`);
      expect((await ask(words)).io.err).toMatch(/^error\[\w+\]/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("caches in f16 when told to, which answers nearly the same", async () => {
    const { io, exitCode } = await ask([golden("text").prompt, "--kv", "f16", "--max-tokens", "4"]);
    expect((await said("text")).startsWith(io.out.trimEnd())).toBe(true);
    expect(exitCode).toBe(0);
  });

  it("ends at a stop text, which is left out", async () => {
    const whole = await said("text");
    const [stop, unused] = [whole.slice(6, 8), "☃"];
    const { io } = await ask([golden("text").prompt, "--stop", unused, "--stop", stop, "--json"]);
    expect(JSON.parse(io.out)).toMatchObject({ finish: "stop", answer: whole.slice(0, whole.indexOf(stop)) });
  });
});

describe("oryx ask --json", () => {
  it("prints one object with answer, plan and timings", async () => {
    const { prompt, sequence_length } = golden("image");
    const { io, exitCode } = await ask([media("image.png"), prompt, "--json"]);
    expect(io.out.indexOf("\n")).toBe(io.out.length - 1);
    const number = expect.any(Number);
    const names = ["decodeMs", "encodeMs", "prefillMs", "firstTokenMs", "totalMs", "tokensPerSecond"];
    expect(JSON.parse(io.out)).toEqual({
      answer: await said("image"),
      finish: "length",
      tokens: 24,
      model: GOLDEN,
      randomWeights: false,
      plan: {
        items: [
          {
            name: media("image.png"),
            modality: "image",
            k: 1,
            source: { width: 213, height: 170 },
            size: { width: 192, height: 160 },
            overview: { width: 416, height: 320 },
            visualTokens: visualTokens(golden("image")),
          },
        ],
        visualTokens: visualTokens(golden("image")),
        promptTokens: sequence_length,
        cachedTokens: 0,
        contextTokens: 4096,
        maxTokens: 24,
        isReduced: false,
        reasons: [
          `${media("image.png")}: k = 1, so that each patch becomes one token: the paper's for images.`,
          `${media("image.png")}: 213x170 encoded at 192x160: its own size, in steps of the model's grid.`,
          `The prompt takes ${sequence_length} tokens and fits the 4,073 that the context leaves it beside the answer.`,
        ],
      },
      frameTimesS: [],
      reused: { pictures: 0, promptTokens: 0 },
      timings: Object.fromEntries(names.map((name) => [name, number])),
    });
    for (const [name, value] of Object.entries<number>(JSON.parse(io.out).timings))
      if (name.endsWith("Ms")) expect(String(value)).toMatch(/^\d+(\.\d)?$/);
    expect([io.err, exitCode]).toEqual(["", 0]);
  });

  it("prints an error as an object too", async () => {
    const { io, exitCode } = await ask(["nowhere.mp4", "What?", "--json"]);
    expect(JSON.parse(io.out)).toEqual({
      error: { code: "media_missing", message: "there is no file nowhere.mp4", remedy: "check the path" },
    });
    expect(exitCode).toBe(1);
  });
});

describe("oryx ask --plan", () => {
  const VIDEO = "test/fixtures/videos/sample.mp4";

  it("tells what would be shown, in a table, and why, and asks nothing", async () => {
    const { io, exitCode } = await ask([VIDEO, media("image.png"), "What?", "--plan"]);
    const [head, film, image, sum, ...reasons] = io.out.trimEnd().split("\n");
    expect(head).toMatch(/^file +as +of +size +frames +a second +k +encoded at +tokens$/);
    expect(film).toMatch(/sample\.mp4 +video +\d+ s +\d+x\d+ +\d+ +[\d.]+ +2 +\d+x\d+ +\d+$/);
    expect(image).toMatch(/image\.png +image +213x170 +1 +192x160 \+ 416x320 +673$/);
    expect(sum).toMatch(/^prompt [\d,]+ tokens, [\d,]+ of them visual, of 4,096; answer up to 24$/);
    expect(reasons).toHaveLength(6);
    for (const reason of reasons) expect(reason).toMatch(/^- .*\.$/);
    expect([io.err, exitCode]).toEqual(["", 0]);
  });

  it("prints with --json the very plan that an answer comes with", async () => {
    const words = [VIDEO, "--task", "summarize", "--budget-tokens", "150", "--json", "--max-tokens", "2"];
    const planned = JSON.parse((await ask([...words, "--plan"])).io.out);
    expect(Object.keys(planned)).toEqual(["model", "randomWeights", "plan"]);
    expect(planned.plan).toMatchObject({ isReduced: true });
    expect(planned.plan.promptTokens).toBeLessThanOrEqual(150);
    const answered = JSON.parse((await ask(words)).io.out);
    expect(answered.plan).toEqual(planned.plan);
    expect(answered.frameTimesS[0]).toHaveLength(planned.plan.items[0].frameTimesS.length);
  });

  it("takes the size that pictures are encoded at, and refuses one that the model was not made for", async () => {
    const size = async (...words: string[]) => (await ask([VIDEO, "What?", "--plan", "--json", ...words])).io;
    const { plan } = JSON.parse((await size("--size", "300x300")).out);
    const { width, height } = plan.items[0].size;
    expect(width * height).toBeLessThanOrEqual(300 * 300);
    expect(JSON.parse((await size("--size", "20x20")).out).error.code).toBe("bad_option");
    expect(JSON.parse((await size("--size", "20")).out).error.code).toBe("usage");
  });

  it("says that a budget is impossible", async () => {
    const { io, exitCode } = await ask([VIDEO, "What?", "--budget-tokens", "30"]);
    expect(io.err).toMatch(/^error\[budget_exceeded\]: .* at least \d+ tokens, but may take 30. Allow \d+/);
    expect(exitCode).toBe(1);
  });
});

describe("oryx ask --task", () => {
  it("asks about files without a question, in the words that models know", async () => {
    const tokens = async (...words: string[]) =>
      JSON.parse((await ask([media("image.png"), ...words, "--plan", "--json"])).io.out).plan.promptTokens;
    expect(await tokens("--task", "summarize")).toBe(await tokens("Summarise the image."));
    expect(await tokens("Be short.", "--task", "describe")).toBe(
      await tokens("Describe the image in detail. Be short."),
    );
    const choices = ["--option", "red", "--option", "dark blue"];
    expect(await tokens("Which?", "--task", "mcq", ...choices)).toBe(
      await tokens("Which? A. red B. dark blue"),
    );
  });

  it("gives the answer's parts with --json, and says when they cannot be told", async () => {
    const summary = JSON.parse((await ask([media("image.png"), "--task", "summarize", "--json"])).io.out);
    expect(summary.result).toEqual({ task: "summarize", text: summary.answer.trim() });
    const choices = ["--task", "mcq", "--option", "red", "--option", "blue"];
    const { result } = JSON.parse((await ask([media("image.png"), "Which?", ...choices, "--json"])).io.out);
    expect(result).toEqual({ task: "mcq", unparsed: "the answer names none of the options" });
    const { io } = await ask([media("image.png"), "Which?", ...choices]);
    expect(io.err).toBe("note: the answer names none of the options\n");
  });

  it.each([
    [["--task", "mcq", "Which?"], "bad_option"],
    [["--task", "mcq", "--option", "a", "Which?"], "bad_option"],
    [["--task", "dance", "What?"], "usage"],
    [["--option", "a", "--option", "b", "Which?"], "bad_option"],
    [["--task", "mcq", "--option", "a", "--option", "b", media("image.png")], "usage"],
    [["--task", "summarize"], "usage"],
  ] as const)("refuses %j", async (words, code) => {
    const { io, exitCode } = await ask([...words, "--json"]);
    expect(JSON.parse(io.out).error.code).toBe(code);
    expect(exitCode).toBe(2);
  });
});

describe("the model that comes with the package", () => {
  const run = async (words: readonly string[], setting: Setting = {}) => {
    const io = new RecordedIo(setting);
    await main(["ask", "Hello?", "--max-tokens", "2", "--context", "256", ...words], io);
    return io;
  };

  it("is the default", async () => {
    const { out, err } = await run(["--json"]);
    expect(JSON.parse(out)).toMatchObject({ model: "oryx-tiny", randomWeights: false });
    expect(err).toBe("");
    const { answer } = JSON.parse((await run(["--json", "--model", PACKAGED_MODEL.folder])).out);
    expect(answer).toBe(JSON.parse(out).answer);
  });

  it("gives way to ORYX_MODEL, and that to --model", async () => {
    const env = { ORYX_MODEL: GOLDEN };
    expect((await run([], { env })).err).toBe("");
    expect(JSON.parse((await run(["--json"], { env })).out).model).toBe(GOLDEN);
    expect((await run(["--model", "nowhere"], { env })).err).toMatch(/^error\[model_missing\]: .*nowhere/);
  });

  it("says nothing with --quiet", async () => {
    expect((await run(["--quiet"])).err).toBe("");
  });
});

describe("a model with random weights", () => {
  it("is said to be one, but for --quiet and --json", async () => {
    const dir = await mkdtemp(join(tmpdir(), "oryx-random-"));
    try {
      await cp(GOLDEN, dir, { recursive: true });
      const config = JSON.parse(readFileSync(join(dir, "config.json"), "utf8"));
      await writeFile(join(dir, "config.json"), JSON.stringify({ ...config, random_weights: true }));
      const run = async (...words: string[]) => (await ask(["Hello?", "--model", dir, ...words])).io;
      expect((await run()).err).toMatch(/^note: the weights of .* are random: its answers mean nothing$/m);
      expect((await run("--quiet")).err).toBe("");
      const { out, err } = await run("--json");
      expect(JSON.parse(out)).toMatchObject({ model: dir, randomWeights: true });
      expect(err).toBe("");
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

describe("progress", () => {
  it("shows the plan on a terminal, and every stage, of which nothing stays", async () => {
    const { io } = await ask(["--frames", ...FRAMES, "What moves?"], { terminal: true });
    const { sequence_length } = golden("video");
    expect(io.screen).toHaveLength(2);
    expect(io.screen[1]).toBe("note: cut at 24 tokens (--max-tokens)");
    expect(io.screen[0]).toMatch(
      /^video 5 frames at 320x192, k=2, 337 visual tokens, prompt [\d,]+ of 4,096$/,
    );
    expect(visualTokens(golden("video"))).toBe(337);
    expect(sequence_length).toBeGreaterThan(337);
    for (const stage of ["loading", "decode", "encode", "prefill"]) expect(io.err).toContain(stage);
  });

  it.each(["--quiet", "--json"])("is not shown with %s", async (flag) => {
    const { io } = await ask([media("image.png"), "What?", flag], { terminal: true });
    expect(io.err).toBe("");
  });

  it("is cleared before an error is told", async () => {
    const { io } = await ask(["--frames", ...FRAMES, "What moves?", "--context", "40"], { terminal: true });
    expect(io.screen.join(" ")).toMatch(/^error\[context_exceeded\][^[]*$/);
    for (const line of io.screen) expect(line.length).toBeLessThanOrEqual(100);
  });

  it("tells that the context, not an option, has cut an answer", async () => {
    const { io } = await ask(["Hello?", "--context", "40", "--max-tokens", "1000"], { terminal: true });
    expect(io.screen).toEqual([
      expect.stringMatching(/^note: cut at \d+ tokens \(the context of 40 is full\)$/),
    ]);
  });

  it("keeps a model's control characters off the terminal", async () => {
    const prompt = golden("image").prompt;
    const { io } = await ask([media("image.png"), prompt], { terminal: true });
    expect(await said("image")).toContain("\u0016");
    expect(io.out).not.toContain("\u0016");
  });
});

describe("stopping", () => {
  const LONG = ["Count.", "--max-tokens", "3000"];

  it("Ctrl-C ends the answer with 130, and leaves a second Ctrl-C to the process", async () => {
    let isCaughtAgain: boolean | undefined;
    const { io, exitCode } = await ask(LONG, {
      onOutput: (_, io) => {
        isCaughtAgain ??= io.interrupt() ? io.interrupt() : undefined;
      },
    });
    expect(exitCode).toBe(130);
    expect(isCaughtAgain).toBe(false);
    expect(io.out.length).toBeLessThan(100);
    expect(io.out.endsWith("\n")).toBe(true);
    expect(io.err).toBe("");
  });

  it("a reader that goes away ends it quietly", async () => {
    const { io, exitCode } = await ask(LONG, { outputFails: "EPIPE" });
    expect(io.out.length).toBeLessThan(100);
    expect([io.err, exitCode]).toEqual(["", 0]);
  });

  it("a full disk is an error", async () => {
    const { io, exitCode } = await ask(LONG, { outputFails: "ENOSPC" });
    expect(io.err).toMatch(/^error\[disk\]: stdout could not be written: ENOSPC/);
    expect(exitCode).toBe(1);
  });
});
