import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import { parseRecord } from "../data/records.ts";
import { parseConfig } from "../model/config.ts";
import { PUBLISHED_VIEWS } from "../model/views.ts";
import {
  fingerprintOf,
  modelOf,
  parseRecipe,
  readModelConfig,
  readRecipe,
  stepsOf,
  viewsOfStage,
} from "./recipe.ts";

const stage = {
  name: "one",
  data: [{ from: "world", kinds: { count: 1 }, count: 100 }],
  train: ["connector"],
  rate: 1e-3,
  batch: 8,
  steps: 10,
  maxTokens: 512,
};
const model = {
  tower: { blocks: 2, mlpWidth: 64, grid: 8 },
  start: { tower: "random", connector: "random", language: "random" },
};
const recipe = { recipe: 1, name: "test", models: { small: model }, stages: [stage] };

const parseTestConfig = (layers: number) => {
  const golden = JSON.parse(readFileSync("test/fixtures/oryx-qwen-tiny/config.json", "utf8"));
  return parseConfig({ ...golden, num_hidden_layers: layers });
};

const problemOf = (json: unknown): string => {
  try {
    parseRecipe(json);
  } catch (error) {
    if (error instanceof OryxError && error.code === "recipe_invalid") return error.message;
    throw error;
  }
  return "";
};

describe("the recipes of this repository", () => {
  it.each(["oryx-7b", "oryx-34b"])("%s has the paper's hyperparameters in every stage", async (name) => {
    const read = await readRecipe(`recipes/${name}`);
    const rate = name === "oryx-7b" ? 2e-5 : 1e-5;
    const facts = read.stages.map((s) => [s.name, s.train.join(), s.rate, s.batch, s.maxTokens, s.template]);
    expect(facts.slice(1)).toEqual([
      ["1a", "connector", 1e-3, 256, 8192, "plain"],
      ["1b", "connector,language", rate, 128, 8192, "chat"],
      ["2", "connector,language", rate, 128, 16384, "chat"],
    ]);
    for (const s of read.stages)
      expect(s).toMatchObject({ epochs: 1, weightDecay: 0, warmup: 0.03, schedule: "cosine" });
    const views = read.stages.map((s) => viewsOfStage(s, PUBLISHED_VIEWS));
    expect(views.map((v) => Math.sqrt(v.image.most))).toEqual([1536, 768, 1280, 1536]);
    expect(views[3]).toEqual(PUBLISHED_VIEWS);
    expect(read.stages.map((s) => s.model)).toEqual(["oryx-vit", "oryx", "oryx", "oryx"]);
    for (const s of read.stages) await readModelConfig(read, modelOf(read, s));
  });

  it("has bounds on frames that leave something, together with the model's own", () => {
    const { stages } = parseRecipe({
      ...recipe,
      stages: [{ ...stage, views: { video: { least: 300_000 } } }],
    });
    expect(() => viewsOfStage(stages[0]!, PUBLISHED_VIEWS)).toThrow(/one: video has least 300000/);
  });

  it("oryx-tiny goes through the same stages, behind what stands for the pretraining of its parts", async () => {
    const { stages } = await readRecipe("recipes/oryx-tiny/recipe.json");
    const trained = stages.map(({ name, train }) => [name.replace(/^([02]).*/, "$1"), train.join()]);
    expect([...new Map(trained.map((stage) => [stage.join(), stage])).values()]).toEqual([
      ["0", "tower,connector,model.embed_tokens.*,model.norm.*"],
      ["0", "language"],
      ["0", "tower,connector,language"],
      ["1a", "connector"],
      ["1b", "connector,language"],
      ["2", "connector,language"],
    ]);
  });
});

describe("recipes/README.md", () => {
  const text = readFileSync("recipes/README.md", "utf8");
  const blocks = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, json = ""]) => json);

  it("has examples that are read: records, line by line, and a recipe", () => {
    const [records = "", own = ""] = blocks;
    const read = records
      .trim()
      .split("\n")
      .map((line) => parseRecord(JSON.parse(line)));
    expect(read.map(({ media }) => media?.modality)).toEqual(["image", "image", "video", "image"]);
    expect(parseRecipe(JSON.parse(own)).stages).toHaveLength(1);
  });

  it("names every key", () => {
    const [own] = parseRecipe({
      ...recipe,
      stages: [{ ...stage, views: {}, muon: true, lora: { rank: 1, alpha: 1 } }],
    }).stages;
    const keys = [
      ...Object.keys(own!),
      ...Object.keys(recipe),
      ...Object.keys(model),
      "epochs",
      "easy",
      "letters",
      "needle",
      "estimate",
    ];
    const missing = keys.filter((key) => !new RegExp(`[\`.\\]"]${key}\\b`).test(text));
    expect(missing).toEqual([]);
  });
});

describe("a recipe", () => {
  it("has its defaults filled in", () => {
    const [read] = parseRecipe(recipe).stages;
    const defaults = {
      model: "small",
      template: "chat",
      schedule: "cosine",
      warmup: 0.03,
      weightDecay: 0,
      clip: 1,
    };
    expect(read).toMatchObject(defaults);
  });

  it.each<[string, object, RegExp]>([
    [
      "a misspelt hyperparameter",
      { stages: [{ ...stage, learning_rate: 1 }] },
      /"stages\.0": .*learning_rate/,
    ],
    ["neither steps nor epochs", { stages: [{ ...stage, steps: undefined }] }, /either epochs or steps/],
    ["both", { stages: [{ ...stage, epochs: 1 }] }, /either epochs or steps/],
    ["two stages of a name", { stages: [stage, stage] }, /two stages are called one/],
    ["a model that it does not have", { stages: [{ ...stage, model: "large" }] }, /"large"/],
    [
      "a model called like what every object has",
      { stages: [{ ...stage, model: "constructor" }] },
      /"constructor"/,
    ],
    [
      "a kind that the world does not have",
      { stages: [{ ...stage, data: [{ from: "world", kinds: { smell: 1 }, count: 1 }] }] },
      /smell/,
    ],
    [
      "frames of long films and no such film",
      {
        stages: [
          {
            ...stage,
            data: [{ from: "world", kinds: { count: 1 }, needle: { frames: 100 }, count: 1 }],
          },
        ],
      },
      /"stages.0.data.0.needle".*add the kind needle/,
    ],
    [
      "a number of cards, and a card with an object",
      {
        stages: [
          {
            ...stage,
            data: [{ from: "world", kinds: { needle: 1 }, needle: { cards: 2, object: true }, count: 1 }],
          },
        ],
      },
      /"stages.0.data.0.needle.cards".*one of the two/,
    ],
    [
      "pages that are told and not shown",
      {
        stages: [
          {
            ...stage,
            template: "naming",
            data: [{ from: "world", kinds: { page: 1 }, told: true, count: 1 }],
          },
        ],
      },
      /"stages.0.template".*nothing told/,
    ],
    ["no kinds", { stages: [{ ...stage, data: [{ from: "world", kinds: {}, count: 1 }] }] }, /no kind/],
    ["no stages", { stages: [] }, /"stages"/],
    ["no models", { models: {} }, /models/],
    ["a rate of infinity", { stages: [{ ...stage, rate: Number.POSITIVE_INFINITY }] }, /rate/],
    ["a batch of a half", { stages: [{ ...stage, batch: 0.5 }] }, /batch/],
    ["a stage whose name is a path", { stages: [{ ...stage, name: "../one" }] }, /name/],
    ["a later version", { recipe: 2 }, /"recipe"/],
  ])("with %s is refused", (_, change, told) => {
    expect(problemOf(recipe)).toBe("");
    expect(problemOf({ ...recipe, ...change })).toMatch(told);
  });

  it("of any JSON is read or refused with a code, and what was read is read again as itself", () => {
    const paths = ["recipe", "name", "seed", "models", "stages", "weights"] as const;
    const spoilt = fc.record({ at: fc.constantFrom(...paths), by: fc.jsonValue() });
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), spoilt), (value) => {
        const isSpoilt = typeof value === "object" && value !== null && "at" in value && "by" in value;
        const json = isSpoilt ? { ...recipe, [String(value.at)]: value.by } : value;
        if (problemOf(json) === "") expect(parseRecipe(parseRecipe(json))).toEqual(parseRecipe(json));
      }),
      { numRuns: 300 },
    );
  });

  it("whose stage is spoilt anywhere is read or refused with a code", () => {
    const keys = [...Object.keys(stage), "views", "lora", "epochs", "__proto__"];
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.jsonValue(), (key, by) => {
        problemOf({
          ...recipe,
          stages: [
            JSON.parse(`${JSON.stringify(stage).slice(0, -1)},${JSON.stringify(key)}:${JSON.stringify(by)}}`),
          ],
        });
      }),
      { numRuns: 300 },
    );
  });

  it("that is not there, is no JSON or far too large is refused with a code", async () => {
    const dir = await mkdtemp(join(tmpdir(), "oryx-recipe-"));
    const path = join(dir, "recipe.json");
    await expect(readRecipe(dir)).rejects.toMatchObject({ code: "recipe_invalid" });
    for (const text of [
      "",
      "{",
      '{"recipe":1,"recipe":1}',
      "[".repeat(100_000),
      `"${"x".repeat(5_000_000)}"`,
    ]) {
      await writeFile(path, text);
      await expect(readRecipe(dir)).rejects.toMatchObject({ code: "recipe_invalid" });
    }
    await writeFile(path, JSON.stringify(recipe));
    const read = await readRecipe(dir);
    const config = readModelConfig(read, modelOf(read, read.stages[0] as never));
    await expect(config).rejects.toMatchObject({
      code: "recipe_invalid",
      message: expect.stringContaining("config.json"),
    });
    await rm(dir, { recursive: true });
  });
});

describe("what a stage's outcome depends on", () => {
  const two = (change: object, later: object = {}) =>
    parseRecipe({
      ...recipe,
      stages: [
        { ...stage, ...change },
        { ...stage, name: "two", ...later },
      ],
    });

  const config = parseTestConfig(2);

  it("is it, its model's config and what comes before it, but neither what is said of it nor what comes after", () => {
    const first = fingerprintOf(two({}), 0, config);
    expect(fingerprintOf(two({ about: "said of it", microTokens: 77 }, { rate: 0.5 }), 0, config)).toBe(
      first,
    );
    expect(fingerprintOf(two({ rate: 0.5 }), 0, config)).not.toBe(first);
    expect(fingerprintOf(two({}, { rate: 0.5 }), 1, config)).not.toBe(fingerprintOf(two({}), 1, config));
    expect(fingerprintOf({ ...two({}), seed: 9 }, 0, config)).not.toBe(first);
    expect(fingerprintOf(two({}), 0, parseTestConfig(4))).not.toBe(first);
  });

  it("is how long its files of records are, and the models of its past, but no other", () => {
    const first = fingerprintOf(two({}), 0, config, [100]);
    expect(fingerprintOf(two({}), 0, config, [101])).not.toBe(first);
    const models = (change: object, other: object) => ({
      ...two({}),
      models: { small: { ...two({}).models.small, ...change }, other },
    });
    expect(fingerprintOf(models({}, { config: "other" }) as never, 0, config, [100])).toBe(first);
    expect(fingerprintOf(models({ config: "elsewhere" }, {}) as never, 0, config, [100])).not.toBe(first);
  });

  it("gives as many steps as cover its epochs", () => {
    const [given] = parseRecipe(recipe).stages as [ReturnType<typeof two>["stages"][number]];
    const epochs = (n: number) => ({ ...given, steps: undefined, epochs: n });
    expect(stepsOf(given, 1e6)).toBe(10);
    expect([stepsOf(epochs(1), 16), stepsOf(epochs(1), 17), stepsOf(epochs(2), 17)]).toEqual([2, 3, 5]);
    expect(stepsOf(epochs(0.01), 3)).toBe(1);
  });
});
