import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type { Example } from "../data/example.ts";
import { estimateStage, requireMemory } from "./estimate.ts";
import { costOf, type Plan, planRecipe, secondsLeftOf } from "./plan.ts";
import { modelOf, type Recipe, readModelConfig, readRecipe } from "./recipe.ts";
import type { Stage } from "./schema.ts";

const nowhere = async (where: string) => where;
const ONE = { count: 1, lanes: 1, operationsPerSecond: undefined };
const planOf = async (name: string, machines: Parameters<typeof planRecipe>[2] = ONE) => {
  const recipe = await readRecipe(`recipes/${name}`);
  return planRecipe(recipe, recipe.stages, machines, nowhere);
};

describe("the plan of oryx-7b", () => {
  /** Counted by hand from the shapes of Qwen2-7B, of SigLIP-so400m with a table of 128x128, and of the paper. */
  const LANGUAGE =
    2 * 152064 * 3584 +
    28 * (2 * 3584 * 3584 + 3584 + 2 * (512 * 3584 + 512) + 3 * 3584 * 18944 + 2 * 3584) +
    3584;
  const BLOCK = 4 * 1152 * 1152 + 4 * 1152 + 2 * 1152 * 4304 + 4304 + 1152 + 4 * 1152;
  const TOWER = 27 * BLOCK + 128 * 128 * 1152 + 768 * 1152 + 1152;
  const CONNECTOR = 2 * (256 * 1152 + 256) + 1152 * 3584 + 3584 + 3584 * 3584 + 3584 + 4 * 3584;

  it("counts the parameters of each part, and trains those of the paper", async () => {
    expect(LANGUAGE).toBe(7_615_616_512); // as Qwen2-7B's model card has it
    const { stages } = await planOf("oryx-7b");
    for (const { parameters } of stages.slice(1)) {
      expect(parameters).toEqual({ tower: TOWER, connector: CONNECTOR, language: LANGUAGE });
    }
    expect(stages.slice(1).map(({ trained }) => trained)).toEqual([
      { tower: 0, connector: CONNECTOR, language: 0 },
      { tower: 0, connector: CONNECTOR, language: LANGUAGE },
      { tower: 0, connector: CONNECTOR, language: LANGUAGE },
    ]);
  });

  it("takes as many steps and tokens as its data make, and memory for what is trained", async () => {
    const { stages } = await planOf("oryx-7b");
    expect(stages.slice(1).map(({ steps }) => steps)).toEqual([2180, 32032, 9766]);
    expect(stages[1]?.tokens).toBe(2180 * 256 * 1400);
    expect(stages[3]?.example).toEqual({
      tokens: (600 * 3000 + 650 * 8500) / 1250,
      labels: 150,
      patches: (600 * 2650 + 650 * 32000) / 1250,
      pictures: (600 * 2 + 650 * 40) / 1250,
    });
    const { weights, gradients, optimiser } = stages[1]?.memory ?? {};
    expect([weights, gradients, optimiser]).toEqual([
      4 * (TOWER + CONNECTOR + LANGUAGE),
      2 * 4 * CONNECTOR, // the sums, and what one run gives
      8 * CONNECTOR,
    ]);
  });

  it("computes about six operations for each weight and token", async () => {
    const sft = (await planOf("oryx-7b")).stages[2];
    const weights = LANGUAGE - 2 * 152064 * 3584;
    // Attention and the tower come on top.
    const ratio = (sft?.operations ?? 0) / (6 * weights * (sft?.tokens ?? 1));
    expect(ratio).toBeGreaterThan(1);
    expect(ratio).toBeLessThan(1.4);
  });

  it("takes half as long on twice as many machines", async () => {
    const on = async (count: number) =>
      (await planOf("oryx-7b", { ...ONE, count, operationsPerSecond: 1e14 })).stages[2];
    const [one, two] = [await on(1), await on(2)];
    expect(one?.seconds).toBeCloseTo((one?.operations ?? 0) / 1e14, 3);
    expect(two?.seconds).toBeCloseTo((one?.seconds ?? 0) / 2, 3);
  });
});

describe("an estimate", () => {
  const [tokens, example] = [100, { tokens: 100, labels: 0, patches: 0, pictures: 0 }];
  const estimate = async (change: Partial<Stage>) => {
    const recipe: Recipe = await readRecipe("recipes/oryx-7b");
    const stage = { ...(recipe.stages[2] as Stage), batch: 1, ...change };
    const model = await readModelConfig(recipe, modelOf(recipe, stage));
    return estimateStage({ stage, model, examples: 1, steps: 1, example }, ONE);
  };

  it("of text alone is that of the language model's products, three times where it is trained, else twice", async () => {
    const matrices = 28 * (2 * 3584 * 3584 + 2 * 512 * 3584 + 3 * 3584 * 18944);
    const scored = (5 / 8) * tokens * tokens; // of queries in four blocks, none sees the blocks behind its own
    const once = 2 * tokens * matrices + 4 * 28 * 3584 * scored;
    expect((await estimate({ train: ["language"] })).operations).toBe(3 * once);
    expect((await estimate({ train: ["connector"] })).operations).toBe(2 * once);
  });

  it("with LoRA counts the factors, and leaves their matrices out", async () => {
    const { trained, parameters } = await estimate({ train: ["connector"], lora: { rank: 8, alpha: 8 } });
    const sides = 2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944);
    expect(trained.language).toBe(28 * 8 * sides);
    expect(parameters.language).toBe(7_615_616_512 + 28 * 8 * sides);
  });

  it("is told before any memory is taken that a machine lacks", async () => {
    const recipe = await readRecipe("recipes/oryx-7b");
    const stage = recipe.stages[1] as Stage;
    const model = await readModelConfig(recipe, modelOf(recipe, stage));
    const of = (lanes: number) => ({ stage, model, lanes });
    const total = (bytes: number, held = 0) => ({ total: bytes, held });
    expect(() => requireMemory(of(1), total(33e9))).not.toThrow();
    expect(() => requireMemory(of(8), total(33e9))).toThrow(/stage 1a takes 33/);
    expect(() => requireMemory(of(1), total(32e9))).toThrow(/takes 32\.5 GB, and the machine has 32\.0 GB/);
    expect(() => requireMemory(of(1), total(33e9, 1e9))).toThrow(
      /takes 32\.5 GB beside the 1\.0 GB of the stage before, and the machine has 33\.0 GB/,
    );
  });

  it("counts gradients for each run of the model at a time", async () => {
    const gradients = async (lanes: number) =>
      (await planOf("oryx-7b", { ...ONE, lanes })).stages[1]?.memory.gradients ?? 0;
    expect(await gradients(3)).toBe(2 * (await gradients(1)));
  });

  it("of a stage that trains what is not there is refused", async () => {
    await expect(estimate({ train: ["model.layers.99.*"] })).rejects.toMatchObject({ code: "bad_option" });
  });
});

describe("the plan of records", () => {
  const GOLDEN = resolve("test/fixtures/oryx-qwen-tiny");
  const record = (image: string) => ({
    image,
    conversations: [
      { from: "human", value: "<image>\nWhat is it?" },
      { from: "gpt", value: "A picture." },
    ],
  });
  const planned = async (records: object[] | undefined, source: object = {}) => {
    const dir = await mkdtemp(join(tmpdir(), "oryx-plan-"));
    try {
      const { stages, ...recipe } = JSON.parse(await readFile("recipes/oryx-tiny/recipe.json", "utf8"));
      const model = { ...recipe.models["oryx-tiny"], config: resolve("recipes/oryx-tiny/config.json") };
      const data = [{ from: "records", file: "records.json", media: join(GOLDEN, "media"), ...source }];
      const one = {
        ...recipe,
        models: { "oryx-tiny": model },
        stages: [{ ...stages.at(-1), maxTokens: 4096, data }],
      };
      await writeFile(join(dir, "recipe.json"), JSON.stringify(one));
      if (records) await writeFile(join(dir, "records.json"), JSON.stringify(records));
      const read = await readRecipe(dir);
      const { stages: estimates, skips } = await planRecipe(read, read.stages, ONE, nowhere);
      return { ...estimates[0], skips };
    } finally {
      await rm(dir, { recursive: true });
    }
  };
  const estimate = { tokens: 100, labels: 10, patches: 50, pictures: 1 };

  it("that are there counts them, and looks at some, leaving out what a run would", async () => {
    const plan = await planned([record("image.png"), record("nothing.png"), record("image.png")], {
      count: 90,
    });
    expect(plan).toMatchObject({ examples: 3, steps: 1, example: { pictures: 2 } });
    expect(plan.example?.tokens).toBeLessThan(2000);
    const problem = expect.stringMatching(/there is no file/);
    expect(plan.skips).toEqual([{ stage: plan.stage, source: 1, looked: 3, skipped: 1, problem }]);
  });

  it("that are not there, or have an estimate, takes the recipe's word", async () => {
    const guessed = { examples: 90, example: { tokens: 2048, pictures: 2 } };
    expect(await planned(undefined, { count: 90 })).toMatchObject(guessed);
    const told = await planned([record("image.png")], { count: 90, estimate });
    expect(told).toMatchObject({ examples: 90, example: estimate });
    const counted = await planned([record("image.png"), record("nothing.png")], { estimate });
    expect(counted).toMatchObject({ examples: 2, example: estimate });
  });

  it("finds out that nothing can be used, or is known", async () => {
    await expect(planned([record("nothing.png")])).rejects.toMatchObject({
      code: "data_invalid",
      message: expect.stringMatching(/none of 1 examples .*there is no file/),
    });
    await expect(planned(undefined)).rejects.toMatchObject({ code: "recipe_invalid" });
  });
});

describe("time left", () => {
  it("in all stages is that of the present one, and of the others by their operations", () => {
    const stage = (name: string, operations: number) => ({ stage: name, operations, steps: 10 });
    const plan = { stages: [stage("a", 99), stage("b", 100), stage("c", 50), stage("d", 300)] };
    const left = (name: string, secondsLeft: number) =>
      secondsLeftOf(plan as unknown as Plan, { stage: name, secondsLeft, secondsPerStep: 2 });
    expect(left("b", 6)).toBe(6 + (350 / 100) * 20);
    expect(left("d", 6)).toBe(6);
  });
});

describe("the plan of oryx-tiny", () => {
  it("takes its examples' cost from the world itself", async () => {
    const { stages } = await planOf("oryx-tiny");
    const recipe = await readRecipe("recipes/oryx-tiny");
    for (const [i, { example }] of stages.entries()) {
      const { data, template } = recipe.stages[i] as Stage;
      const shows = data.some((source) => source.from === "world" && !source.told);
      expect(example.labels).toBeGreaterThan(5);
      expect(example.tokens).toBeGreaterThan(template === "naming" ? 16 : example.labels);
      if (shows) expect(example.patches).toBeGreaterThan(16);
      else expect(example.patches).toBe(0);
    }
    // The first looks at one picture at a time, later ones at films too.
    const most = Math.max(...stages.map(({ example }) => example.pictures));
    expect(most).toBeGreaterThan(1.5 * (stages[0]?.example.pictures ?? 0));
  });

  it("counts an example's patches picture by picture", () => {
    const picture = (width: number, height: number) => ({
      view: "main" as const,
      picture: 0,
      image: { width, height, data: new Uint8Array() },
    });
    const shape = { modality: "image", k: 1, views: { main: { width: 32, height: 48 } } } as const;
    const example: Example = {
      id: "one",
      prompt: [1, { visual: 0 }, 2, 3],
      labels: [-100, -100, -100, 3],
      visuals: [{ shape, count: 1, pictures: [picture(32, 48), picture(16, 16)] }],
      tokens: 14,
    };
    expect(costOf(example)).toEqual({ tokens: 14, labels: 1, patches: 7, pictures: 2 });
  });
});
