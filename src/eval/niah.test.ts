import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { logLikelihood } from "../engine/likelihood.ts";
import { argmax } from "../engine/sampler.ts";
import type { RgbImage } from "../media/media.ts";
import { type OpenModel, openModel } from "../node/open.ts";
import { Oryx } from "../node/oryx.ts";
import { planNiah, runNiah } from "./niah.ts";
import { Asker } from "./niah-ask.ts";
import { encodeFrames, encodePool, markRow } from "./niah-features.ts";
import { outlined, pngOf } from "./niah-figure.ts";
import { NIAH_FILES, writeNiah } from "./niah-files.ts";
import { asFrame, filmHaystack, worldHaystack } from "./niah-film.ts";
import { layout, sharedFrames } from "./niah-layout.ts";
import { type NiahModel, niahModel, promptOf, shapeOf } from "./niah-model.ts";
import { worldNeedle } from "./niah-needles.ts";
import type { NiahProgress, NiahRequest } from "./niah-request.ts";
import { type NiahResult, resultOf } from "./niah-result.ts";
import { tasksOf } from "./niah-tasks.ts";
import { png } from "./pictures.ts";

const CARD = { variant: "single", distractors: 0, heldOut: false } as const;

describe("a needle test", () => {
  let dir: string;
  let folder: string;
  let opened: OpenModel;
  let model: NiahModel;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "oryx-niah-"));
    folder = join(dir, "model");
    await cp("test/fixtures/oryx-qwen-tiny", folder, { recursive: true });
    const config = join(folder, "config.json");
    const { mm_views } = JSON.parse(await readFile("recipes/oryx-tiny/config.json", "utf8"));
    await writeFile(config, JSON.stringify({ ...JSON.parse(await readFile(config, "utf8")), mm_views }));
    opened = await openModel(folder);
    model = await niahModel("tiny", opened, undefined);
  });
  afterAll(async () => {
    await opened.close();
    await rm(dir, { recursive: true });
  });

  /** A film with its needle, as this test puts it together and as the pictures that the engine would be given. */
  async function film(frames: number, depth: number) {
    const haystack = worldHaystack(7, frames, false);
    const needle = await worldNeedle(7, CARD);
    const shape = shapeOf(haystack.size, frames, undefined, model.views);
    const numbers = Array.from({ length: frames - 1 }, (_, i) => i);
    const pool = await encodePool(model.encoder, shape, haystack.frames, numbers);
    const [card] = (await needle.load(haystack.size)) as [RgbImage];
    const frame = await asFrame(card, haystack.size, shape.views.main);
    const pictures = [await encodeFrames(model.encoder, shape, [frame], 1)];
    const shown = layout({ frames, depth, pictures: 1, seed: 1 });
    const hay: RgbImage[] = [];
    for await (const picture of haystack.frames(numbers, haystack.size)) hay.push(picture);
    const whole = shown.map((each) => ("hay" in each ? (hay[each.hay] as RgbImage) : card));
    const media = { frames: await Promise.all(whole.map(png)) };
    return { shape, pool, pictures, shown, media, question: needle.questions[0]?.question ?? "" };
  }

  it.each([
    [66, 0],
    [66, 0.5],
    [80, 1],
    [12, 0.3],
  ])("shows the model %i frames with a needle at %d as the engine would", async (frames, depth) => {
    const { shape, pool, pictures, shown, media, question } = await film(frames, depth);
    const oryx = await Oryx.load(folder);
    const asked = { media: [media], question, maxFrames: frames, maxTokens: 12 };
    const texts = ["MAP", "a red star"];
    const { likelihoods, plan } = await oryx.likelihoods(asked, texts);
    const { text } = await oryx.ask(asked).answer();
    await oryx.close();

    const { head, tail } = promptOf(model, question, { shape, frames });
    const mark = async (name: "begin" | "end") => ({ visual: await markRow(model.encoder, name), count: 1 });
    const sequence = [
      { ids: head },
      await mark("begin"),
      ...pool.stretches(shown, pictures),
      await mark("end"),
      { ids: tail },
    ];
    await model.decoder.withSlot(plan.promptTokens + 32, async (slot) => {
      const logits = await model.decoder.prefill(slot, sequence);
      expect(slot.length).toBe(plan.promptTokens);
      for (const { text, logProbability } of likelihoods) {
        const mine = await logLikelihood(model.decoder, slot, logits, model.tokenizer.encode(text));
        expect(Math.abs(mine.logProbability - logProbability)).toBeLessThan(1e-5);
      }
    });

    const asker = new Asker(model, plan.promptTokens + 32, 12);
    for (const shared of [sharedFrames(shown), 0]) {
      await asker.share(pool, frames - 1); // then forgets what lies behind the needle
      const [reply] = await asker.ask({
        film: { shown, pool, pictures },
        shared,
        questions: [{ question, answer: "MAP" }],
      });
      expect(reply?.got).toBe(text);
    }
    await asker.close();
  });

  it("forces the right answer token by token as if each were said from the start", async () => {
    const { pool, pictures, shown, shape, question } = await film(66, 0.5);
    const { decoder, encoder, tokenizer } = model;
    const { head, tail } = promptOf(model, question, { shape, frames: 66 });
    const mark = async (name: "begin" | "end") => ({ visual: await markRow(encoder, name), count: 1 });
    const [begin, end] = [await mark("begin"), await mark("end")];
    const likeliest = (said: readonly number[]) =>
      decoder.withSlot(2000, async (slot) => {
        const ids = [...tail, ...said];
        const film = [{ ids: head }, begin, ...pool.stretches(shown, pictures), end, { ids }];
        return argmax(await decoder.prefill(slot, film));
      });
    const asker = new Asker(model, 2000, 6);
    const ask = async (answer: string) =>
      (await asker.ask({ film: { shown, pool, pictures }, shared: 0, questions: [{ question, answer }] }))[0];
    const said = (await ask("MAP"))?.got ?? "";
    for (const answer of [said, "MAP"]) {
      const ids = tokenizer.encode(answer);
      let hits = 0;
      for (const [i, id] of ids.entries()) if ((await likeliest(ids.slice(0, i))) === id) hits++;
      expect(await ask(answer)).toEqual({ got: said, tokens: ids.length, hits });
    }
    await asker.close();
  });

  it("counts an answerer who knows everything as perfect, one who knows nothing as lost", async () => {
    const haystack = worldHaystack(1, 80, false);
    const needles = [await worldNeedle(1, CARD), await worldNeedle(2, { ...CARD, variant: "two" })];
    const options = {
      frames: [66, 80],
      depths: [0, 1],
      baselines: ["text" as const],
      baselineFrames: 8,
      maxTokens: 6,
    };
    const tasks = tasksOf([model], [{ haystack, needles }], options);
    const isRight = (_: string, answer: string, got: string) => answer === got;
    for (const [share, got] of [
      [1, undefined],
      [0, "?"],
    ] as const) {
      const replies = new Map(
        tasks.map(({ key, needle }) => [
          key,
          needle.questions.map(({ answer }) => ({ got: got ?? answer, tokens: 1, hits: share })),
        ]),
      );
      const { arms } = resultOf({ models: [model], tasks, replies, options, settings: {}, isRight });
      for (const arm of arms) expect(arm).toMatchObject({ rate: share, forcedRate: share, least: share });
      expect(arms.map(({ needles, cells }) => [needles, cells.length])).toEqual([
        [8, 4],
        [2, 0],
      ]);
    }
  });

  function request(out: string, more: Partial<NiahRequest["source"]> = {}, options = {}): NiahRequest {
    return {
      models: [model],
      source: { films: [], count: 2, seed: 3, ...CARD, ...more },
      options: {
        frames: [12, 66, 80],
        depths: [0, 0.5, 1],
        baselines: ["uniform", "needle", "text"],
        baselineFrames: 8,
        maxTokens: 6,
        ...options,
      },
      out: join(dir, out),
      software: "this one",
    };
  }

  it("reads as many tokens as its plan says, fewer than without sharing, and tells how far it is", async () => {
    const told: NiahProgress[] = [];
    const asked = request("plan");
    const plan = await planNiah(asked);
    const { tokens, result } = await runNiah(
      { ...asked, onProgress: (progress) => told.push(progress) },
      async () => {},
    );
    expect(plan.runs).toBe(2 * (9 + 9 + 1 + 1));
    expect(tokens).toBe(plan.tokens);
    expect(tokens).toBeLessThan(plan.unsharedTokens);
    expect(told.at(-1)).toMatchObject({ stage: "ask", done: 20, total: 20 });
    expect(told.at(-1)?.leftS).toBeCloseTo(0, 6);
    expect(result.arms.map(({ arm, needles }) => [arm, needles])).toEqual([
      ["all", 18],
      ["uniform", 18],
      ["needle", 2],
      ["text", 2],
    ]);
  });

  it("gives the same file whether or not it was stopped, and asks nothing twice", async () => {
    const write = (asked: NiahRequest) =>
      runNiah(asked, async ({ result }, subjects) => {
        await writeNiah(asked.out, result, subjects);
      });
    const whole = request("whole");
    await write(whole);
    const stopped = request("stopped");
    const stop = new AbortController();
    let asks = 0;
    const onProgress = ({ stage }: NiahProgress) => {
      if (stage === "ask" && ++asks === 9) stop.abort();
    };
    await expect(write({ ...stopped, signal: stop.signal, onProgress })).rejects.toMatchObject({
      code: "aborted",
    });
    const journal = join(stopped.out, "answers.jsonl");
    const { length } = await readFile(journal);
    await truncate(journal, length - 7); // as a kill in the middle of a line leaves it
    const left = await planNiah(stopped);
    expect(left.done).toBe(8);
    await write(stopped);
    for (const name of Object.values(NIAH_FILES)) {
      const [one, two] = [await readFile(join(stopped.out, name)), await readFile(join(whole.out, name))];
      expect(one.equals(two), name).toBe(true);
    }
    expect((await readdir(whole.out)).sort()).toEqual(["answers.jsonl", ...Object.values(NIAH_FILES)].sort());
    expect(await planNiah(stopped)).toMatchObject({ tokens: 0, frames: 0, questions: 0, seconds: 0 });
    const larger = await planNiah(request("stopped", { count: 3 }, { depths: [0, 0.25, 0.5, 1] }));
    expect(larger.runs - larger.done).toBe(3 * (12 + 12 + 2) - left.runs);
  });

  it("does not mix answers of other options, and mends no damaged head", async () => {
    const asked = request("mixed", {}, { frames: [12], baselines: [] });
    await runNiah(asked, async () => {});
    for (const options of [{ maxTokens: 7 }, { compress: 1 }]) {
      const other = request("mixed", {}, { frames: [12], baselines: [], ...options });
      await expect(planNiah(other)).rejects.toMatchObject({ code: "answers_invalid" });
    }
    await expect(planNiah(request("mixed", { seed: 4 }))).rejects.toMatchObject({ code: "answers_invalid" });
    const newer = planNiah({ ...asked, software: "a newer one" });
    await expect(newer).rejects.toMatchObject({ code: "answers_invalid" });
    const journal = join(asked.out, "answers.jsonl");
    const text = await readFile(journal, "utf8");
    await writeFile(journal, text.replace('"niah":1', '"niah":2'));
    await expect(planNiah(asked)).rejects.toMatchObject({ code: "answers_invalid" });
  });

  it("asks another model too, and both questions of two needles", async () => {
    const other = { ...model, name: "other" };
    const asked = request("both", { variant: "two", distractors: 1 }, { frames: [16], baselines: ["other"] });
    const { result } = await runNiah({ ...asked, models: [model, other] }, async () => {});
    expect(result.arms.map(({ arm, model, needles }) => [arm, model, needles])).toEqual([
      ["all", "tiny", 6],
      ["other", "other", 6],
    ]);
    expect(result.answers).toHaveLength(2 * 6 * 2);
    const said = (arm: string) => result.answers.filter((each) => each.arm === arm).map(({ got }) => got);
    expect(said("other")).toEqual(said("all"));
  });

  it("takes films and a folder of needles", async () => {
    const needles = join(dir, "needles");
    await cp("test/fixtures/oryx-qwen-tiny/media", needles, { recursive: true });
    const entry = {
      image: "image.png",
      question: "What is it?",
      answer: "A picture",
      distractors: ["f0.png"],
    };
    await writeFile(join(needles, "one.json"), JSON.stringify(entry));
    const name = "h264-bframes.mp4";
    const films = [1, 2].map(() => join("test/fixtures/videos", name));
    const source = { films, needles, distractors: 1, count: undefined };
    const asked = request("films", source, { frames: [12, 66], baselines: [] });
    const { result } = await runNiah(asked, async ({ result }, subjects) => {
      await writeNiah(asked.out, result, subjects);
    });
    expect(result.films).toEqual([`${name}, ${name}`]);
    expect(result.arms[0]).toMatchObject({ needles: 6, cells: { length: 6 } });
    const haystack = await filmHaystack(films, 30);
    const pictures: RgbImage[] = [];
    for await (const picture of haystack.frames([0, 7, 15, 22], haystack.size)) pictures.push(picture);
    await haystack.close();
    expect(pictures).toHaveLength(4);
    const isSame = (one = 0, two = 0) =>
      Buffer.from(pictures[one]?.data ?? []).equals(pictures[two]?.data ?? Buffer.of());
    expect([isSame(0, 2), isSame(1, 3), isSame(0, 1)]).toEqual([true, true, false]); // the second film begins at 15
  });

  it("draws ten cards for each cell where nobody says how many", async () => {
    const few = { frames: [12], depths: [0], baselines: [] };
    expect((await planNiah(request("ten", { count: undefined }, few))).runs).toBe(10);
  });

  it("takes all needles of a folder, or as many of the first as are asked for", async () => {
    const needles = await mkdtemp(join(dir, "many-"));
    await cp("test/fixtures/oryx-qwen-tiny/media/image.png", join(needles, "image.png"));
    const entry = (answer: string) => ({ image: "image.png", question: "What is it?", answer });
    await writeFile(join(needles, "a.json"), JSON.stringify([entry("one"), entry("two")]));
    await writeFile(join(needles, "b.json"), JSON.stringify(entry("three")));
    const asked = async (count?: number) => {
      const some = request("many", { needles, count }, { frames: [12], depths: [0], baselines: [] });
      const { result } = await runNiah(some, async () => {});
      return result.answers.map(({ expected }) => expected);
    };
    expect(await asked(1)).toEqual(["one"]);
    expect(await asked(2)).toEqual(["one", "two"]);
    expect(await asked()).toEqual(["one", "two", "three"]);
    await expect(asked(4)).rejects.toMatchObject({
      code: "bad_option",
      message: expect.stringMatching(/has 3 needles, and 4 are asked for/),
    });
  });

  it.each([
    [{ frames: [] }, {}, "bad_option"],
    [{ frames: [0] }, {}, "bad_option"],
    [{ frames: [10_001] }, {}, "bad_option"],
    [{ frames: [12, 12] }, {}, "bad_option"],
    [{ depths: [1.5] }, {}, "bad_option"],
    [{ baselineFrames: 0 }, {}, "bad_option"],
    [{ maxTokens: 0.5 }, {}, "bad_option"],
    [{ baselines: ["other"] }, {}, "bad_option"],
    [{ frames: [10_000] }, {}, "context_exceeded"],
    [{ frames: [7] }, { variant: "two" as const }, "bad_option"],
    [{}, { count: 0 }, "bad_option"],
    [{}, { seed: 2 ** 20 }, "bad_option"],
    [{}, { distractors: 7 }, "bad_option"],
    [{}, { films: ["no/such.mp4"] }, "media_missing"],
  ])("refuses %o %o", async (options, source, code) => {
    await expect(planNiah(request("refused", source, options))).rejects.toMatchObject({ code });
  });
});

describe("the figure", () => {
  it("has its texts as outlines, so that no font is needed", async () => {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="20"><rect width="80" height="20" fill="white"/>' +
      '<text text-anchor="end" transform="translate(70,15)" font-family="nosuchfont" font-size="12px" fill="#000">A &amp; B</text></svg>';
    expect(outlined(svg)).not.toContain("<text");
    expect(outlined(svg)).toContain("<path");
    expect((await pngOf(svg)).length).toBeGreaterThan(400);
  });

  it("tells shares, baselines and no more", async () => {
    const { drawNiah } = await import("./niah-figure.ts");
    const cell = (frames: number, depth: number, right: number) => ({
      frames,
      depth,
      needles: 4,
      right,
      forced: 4,
    });
    const rates = { low: 0, high: 1, forcedRate: 1 };
    const cells = [cell(100, 0, 3), cell(100, 1, 4)];
    const result = {
      needles: 4,
      frames: [100],
      depths: [0, 1],
      settings: { baselineFrames: 32 },
      arms: [
        {
          arm: "all",
          model: "mine",
          needles: 8,
          right: 7,
          forced: 8,
          rate: 0.875,
          least: 0.75,
          ...rates,
          cells,
        },
        {
          arm: "text",
          model: "mine",
          needles: 4,
          right: 0,
          forced: 0,
          rate: 0,
          least: 0,
          ...rates,
          cells: [],
        },
      ],
    } as unknown as NiahResult;
    const svg = await drawNiah(result);
    for (const text of [
      "mine, all frames",
      "mean 87.5%, worst cell 75.0%",
      ">75<",
      ">100<",
      "nothing shown: 0.0%",
    ]) {
      expect(svg).toContain(text);
    }
    expect(outlined(svg)).not.toContain("<text");
  });
});
