import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Oryx } from "../node/oryx.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { loadFloat32 } from "../weights/files.ts";
import { readRecipe } from "./recipe.ts";
import { exportRun, type RunOptions, type RunOutcome, runRecipe } from "./run.ts";

const MODEL = resolve("test/fixtures/oryx-qwen-tiny");
const frame = { least: 4096, most: 4096, stride: 64 };
const stage = {
  data: [{ from: "world", kinds: { count: 1 }, count: 40 }],
  views: { image: { most: 9216, overview: 1024 }, video: frame, video_long: frame },
  rate: 1e-3,
  batch: 2,
  maxTokens: 1000,
};
const RECIPE = {
  recipe: 1,
  name: "micro",
  weights: "f32",
  models: {
    micro: {
      config: join(MODEL, "config.json"),
      tower: { blocks: 3, mlpWidth: 239, grid: 32 },
      start: { tower: MODEL, connector: "random", language: MODEL },
    },
  },
  stages: [
    { ...stage, name: "one", train: ["connector"], steps: 2 },
    { ...stage, name: "two", train: ["connector"], lora: { rank: 2, alpha: 2 }, steps: 2 },
  ],
};

let root: string;
let whole: RunOutcome;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-run-"));
  whole = await train("whole");
});
afterAll(() => rm(root, { recursive: true }));

async function train(out: string, options: Partial<RunOptions> = {}, recipe: object = RECIPE) {
  await writeFile(join(root, "recipe.json"), JSON.stringify(recipe));
  const asked = {
    out: join(root, out),
    resolve: async (where: string) => where,
    threads: 1,
    snapshotSteps: 1,
  };
  return runRecipe(await readRecipe(root), { ...asked, ...options });
}

const weightsOf = (out: string) => readFile(join(root, out, "model", "model.safetensors"));

async function linesOf(out: string) {
  const text = await readFile(join(root, out, "metrics.jsonl"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => ({ ...JSON.parse(line), seconds: 0 }));
}

describe("a run of a recipe", () => {
  it("goes through its stages and ends with a model that answers", async () => {
    expect(whole).toMatchObject({ done: true, model: join(root, "whole", "model") });
    expect(whole.state).toMatchObject({ step: 4, stage: "two", stageStep: 2, skipped: {} });
    expect((await linesOf("whole")).map(({ step, stage }) => `${stage} ${step}`)).toEqual([
      "one 1",
      "one 2",
      "two 3",
      "two 4",
    ]);
    expect(await readFile(join(root, "whole", "loss.svg"), "utf8")).toContain("</svg>");
    const oryx = await Oryx.load(join(root, "whole", "model"), { threads: 1 });
    const { tokens } = await oryx.ask({ question: "How many?", maxTokens: 3 }).answer();
    await oryx.close();
    expect(tokens).toBeGreaterThan(0);
  });

  it("trains what its stages name, and leaves the rest as it was to the bit", async () => {
    const [before, after] = [await openCheckpoint(MODEL), await openCheckpoint(join(root, "whole", "model"))];
    const kept: string[] = [];
    for (const which of ["language", "vision"] as const) {
      for (const [name, stored] of after[which]) {
        const old = before[which].get(name);
        if (old === undefined) throw new Error(`${name} is new`);
        const [was, is] = [await loadFloat32(old), await loadFloat32(stored)];
        if (Buffer.from(was.buffer).equals(Buffer.from(is.buffer))) kept.push(name);
      }
    }
    // LoRA corrects the layers' matrices alone; the connector began at random.
    expect(kept).toContain("model.embed_tokens.weight");
    expect(kept).toContain("blocks.0.attn.qkv.weight");
    expect(kept).toContain("model.layers.0.self_attn.q_proj.bias");
    expect(
      kept.filter((name) =>
        /vision_resampler|mm_projector|layers\.\d+\.(self_attn|mlp)\..*weight/.test(name),
      ),
    ).toEqual([]);
  });

  it("that is told to stop writes a snapshot behind the step, goes on there, and ends with the same bits", async () => {
    const abort = new AbortController();
    const stopped = await train("stopped", {
      signal: abort.signal,
      snapshotSteps: 100,
      onProgress: ({ stage, stageStep }) => {
        if (stage === "two" && stageStep === 1) abort.abort();
      },
    });
    expect(stopped).toMatchObject({
      done: false,
      model: undefined,
      state: { step: 3, stage: "two", stageStep: 1 },
    });
    const notes: string[] = [];
    expect(await train("stopped", { onNote: (note) => notes.push(note) })).toMatchObject({ done: true });
    expect(notes).toEqual(["going on at step 3 (stage two, step 1)"]);
    expect(await linesOf("stopped")).toEqual(await linesOf("whole"));
    expect((await weightsOf("stopped")).equals(await weightsOf("whole"))).toBe(true);
  });

  it("stops behind a stage, and when its time is up", async () => {
    const one = await train("staged", { lastStage: "one" });
    expect(one).toMatchObject({ done: true, model: undefined, state: { step: 2, stage: "one" } });
    expect(await train("staged", { maxMs: 0 })).toMatchObject({
      done: false,
      state: { step: 2, stageStep: 0 },
    });
    await train("staged");
    expect((await weightsOf("staged")).equals(await weightsOf("whole"))).toBe(true);
    await expect(train("staged", { lastStage: "nine" })).rejects.toMatchObject({ code: "bad_option" });
  });

  it("whose last snapshot is damaged goes on at the one before, to the same bits", async () => {
    await cp(join(root, "whole"), join(root, "damaged"), { recursive: true });
    await truncate(join(root, "damaged", "snapshots", "step-000000004", "trained.f32"), 100);
    const notes: string[] = [];
    await train("damaged", { onNote: (note) => notes.push(note) });
    expect(notes).toEqual([
      expect.stringMatching(/^warning: .*step-000000004/),
      expect.stringMatching(/^going on at step 3/),
    ]);
    expect(await linesOf("damaged")).toEqual(await linesOf("whole"));
    expect((await weightsOf("damaged")).equals(await weightsOf("whole"))).toBe(true);
  });

  it("says so when it goes on with another number of threads, which changes how sums are rounded", async () => {
    await train("threads", { lastStage: "one" });
    const notes: string[] = [];
    await train("threads", { threads: 2, onNote: (note) => notes.push(note) });
    expect(notes).toEqual([
      expect.stringMatching(/^going on at step 2/),
      expect.stringMatching(/^note: threads are 2 in 2 lanes, and were 1 in 1 lanes: /),
    ]);
  });

  it("says so when it goes on with other inputs than it had", async () => {
    await train("inputs", { lastStage: "one", release: "a" });
    const notes: string[] = [];
    const [one, two] = RECIPE.stages;
    const changed = { ...RECIPE, stages: [{ ...one, microTokens: 64 }, two] };
    await train("inputs", { lastStage: "one", release: "b", onNote: (note) => notes.push(note) }, changed);
    expect(notes).toEqual([
      expect.stringMatching(/^going on at step 2/),
      expect.stringMatching(/^note: not as they were: microTokens, the release of oryx; /),
    ]);
  });

  it("finds what is wrong with a later stage before it trains the first", async () => {
    const [one, two] = RECIPE.stages;
    const typing = train("later", {}, { ...RECIPE, stages: [one, { ...two, train: ["model.layer.*"] }] });
    await expect(typing).rejects.toMatchObject({ code: "bad_option" });
    const views = { video: { least: 8192, most: 4096 } };
    const turned = train("later", {}, { ...RECIPE, stages: [one, { ...two, views }] });
    await expect(turned).rejects.toMatchObject({ code: "recipe_invalid" });
    await expect(linesOf("later")).rejects.toThrow("ENOENT");
  });

  it("removes what a killed export has left", async () => {
    await cp(join(root, "whole"), join(root, "killed"), { recursive: true });
    for (const kind of ["tmp", "old"]) await mkdir(join(root, "killed", `model.0123456789ab.${kind}`));
    await mkdir(join(root, "killed", "model.mine"));
    await train("killed");
    const left = (await readdir(join(root, "killed"))).filter((name) => name.startsWith("model"));
    expect(left).toEqual(["model", "model.mine"]);
  });

  it("goes on with a recipe whose later stages were changed, and not with one whose past was", async () => {
    await train("changed", { lastStage: "one" });
    const before = await linesOf("changed");
    await appendFile(join(root, "changed", "metrics.jsonl"), "{}\n");
    const [one, two] = RECIPE.stages;
    const later = { ...RECIPE, stages: [one, { ...two, rate: 1e-4 }] };
    const past = { ...RECIPE, stages: [{ ...one, rate: 1e-4 }, two] };
    await expect(train("changed", {}, past)).rejects.toMatchObject({ code: "recipe_invalid" });
    await expect(train("changed", {}, { ...RECIPE, stages: [two] })).rejects.toMatchObject({
      code: "recipe_invalid",
    });
    expect(await linesOf("changed")).toEqual([...before, { seconds: 0 }]); // what was refused has changed nothing
    expect(await train("changed", {}, later)).toMatchObject({ done: true });
    expect((await linesOf("changed")).slice(0, 2)).toEqual(before);
  });

  it("skips, counts and names examples that are too long, and goes on without them", async () => {
    const skipped: string[] = [];
    const short = { ...RECIPE, stages: [{ ...RECIPE.stages[0], maxTokens: 300, batch: 12, steps: 1 }] };
    const outcome = await train("short", { onSkipped: ({ code }) => skipped.push(code) }, short);
    expect(new Set(skipped)).toEqual(new Set(["sample_too_long"]));
    expect(skipped.length).toBeLessThan(12);
    expect(outcome).toMatchObject({
      done: true,
      state: { step: 1, updates: 1, skipped: { sample_too_long: skipped.length } },
    });
    expect((await train("again", {}, short)).state.skipped).toEqual(outcome.state.skipped);
  });

  it.each<[string, object, RegExp]>([
    ["in a short stage", { steps: 2 }, /stage one has learnt nothing: all of its first 4 examples/],
    ["for a hundred", { steps: 1000, batch: 40 }, /all of its first 120 .*; 10 are allowed/],
  ])("ends when all are skipped, %s: that is no model", async (name, change, told) => {
    const none = { ...RECIPE, stages: [{ ...RECIPE.stages[0], maxTokens: 10, ...change }] };
    const error = await train(name, {}, none).catch((reason) => reason);
    expect(error).toMatchObject({ code: "data_invalid", message: expect.stringMatching(told) });
    await expect(weightsOf(name)).rejects.toThrow("ENOENT");
  });

  it("needs a tokenizer whose tokens the model knows", async () => {
    const micro = { ...RECIPE.models.micro, tokenizer: resolve("recipes/oryx-tiny") };
    const other = train("tokens", {}, { ...RECIPE, models: { micro } });
    await expect(other).rejects.toMatchObject({ code: "tokenizer_invalid" });
  });

  it("exports what its last snapshot holds", async () => {
    const options = { out: join(root, "whole"), resolve: async (where: string) => where, threads: 1 };
    await writeFile(join(root, "recipe.json"), JSON.stringify(RECIPE));
    const recipe = await readRecipe(root);
    const state = await exportRun(recipe, join(root, "so-far"), options);
    expect(state).toMatchObject({ step: 4, stage: "two" });
    const exported = await readFile(join(root, "so-far", "model.safetensors"));
    expect(exported.equals(await weightsOf("whole"))).toBe(true);
    const nowhere = exportRun(recipe, join(root, "none"), { ...options, out: join(root, "nowhere") });
    await expect(nowhere).rejects.toMatchObject({ code: "snapshot_damaged" });
  });
});
