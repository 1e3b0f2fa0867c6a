import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RecordedIo, type Setting } from "../../test/support/recorded-io.ts";
import { main } from "./main.ts";

const MODEL = resolve("test/fixtures/oryx-qwen-tiny");
const stage = {
  data: [{ from: "world", kinds: { count: 1 }, count: 20 }],
  views: { image: { most: 4096, overview: 1024 } },
  rate: 1e-3,
  batch: 1,
  maxTokens: 1000,
  train: ["connector"],
};
const RECIPE = {
  recipe: 1,
  name: "micro",
  models: {
    micro: {
      config: join(MODEL, "config.json"),
      tower: { blocks: 3, mlpWidth: 239, grid: 32 },
      start: { tower: MODEL, connector: "random", language: MODEL },
    },
  },
  stages: [
    { ...stage, name: "one", steps: 3 },
    { ...stage, name: "two", steps: 2 },
  ],
};

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-train-cli-"));
  await writeFile(join(root, "recipe.json"), JSON.stringify(RECIPE));
});
afterAll(() => rm(root, { recursive: true }));

async function run(argv: readonly string[], setting: Setting = {}) {
  const io = new RecordedIo(setting);
  const exitCode = await main(["train", ...argv], io);
  return { exitCode, out: io.out, err: io.err, screen: io.screen };
}
const out = (name: string) => ["--out", join(root, name), "--threads", "1"];

describe("oryx train", () => {
  it("trains, tells how, answers a question at snapshots, and prints the model's folder", async () => {
    const ran = await run([root, ...out("whole"), "--profile"], { terminal: true, columns: 400 });
    expect([ran.exitCode, ran.out]).toEqual([0, `${join(root, "whole", "model")}\n`]);
    expect(ran.err).toMatch(
      /stage one · step 1 of 3 · loss \d+\.\d{3} · \d+ s left, in all \d+ s · [\d,]+ tokens\/s · \d+ GFLOP\/s/,
    );
    const [one, first, two, second, profile, done] = ran.screen;
    expect([one, first, two, second]).toEqual([
      expect.stringMatching(/^stage one · step 3 of 3 · loss .* · 0 s left, in all \d+ s · /),
      expect.stringMatching(/^step 3: "/),
      expect.stringMatching(/^stage two · step 2 of 2 · loss .* · 0 s left, in all 0 s · /),
      expect.stringMatching(/^step 5: "/),
    ]);
    expect(profile).toMatch(/^stage two: prepare [\d.]+ s, .* GFLOP\/s$/);
    expect(done).toMatch(/^done: 5 steps, [\d,]+ tokens in /);
    expect((await readdir(join(root, "whole"))).sort()).toEqual(
      ["loss.svg", "metrics.jsonl", "model", "samples.jsonl", "snapshots"].sort(),
    );
    const samples = (await readFile(join(root, "whole", "samples.jsonl"), "utf8")).trimEnd().split("\n");
    expect(samples.map((line) => JSON.parse(line))).toMatchObject([
      { step: 3, stage: "one", kind: "count" },
      { step: 5, stage: "two", kind: "count" },
    ]);
  });

  it("tells at its start what of later stages will be skipped", async () => {
    const folder = join(root, "later");
    await mkdir(folder);
    const source = { ...stage.data[0], kinds: { needle: 1 } };
    const long = { ...source, needle: { frames: 100 } };
    const stages = [
      { ...stage, name: "one", steps: 1 },
      { ...stage, name: "two", steps: 1, data: [...stage.data, { ...source, needle: { frames: 16 } }, long] },
    ];
    await writeFile(join(folder, "recipe.json"), JSON.stringify({ ...RECIPE, stages }));
    const { err } = await run([
      folder,
      ...out("later"),
      "--stage",
      "two",
      "--no-samples",
      "--max-minutes",
      "1",
    ]);
    expect(err).toMatch(/^note: stage two: of \d+ examples of source 3, \d+ would be skipped: .*tokens/m);
    expect(err.indexOf("note: stage two")).toBeLessThan(err.indexOf("step 1 of 1"));
  });

  it("stops at Ctrl-C behind a step, and goes on when it is called again", async () => {
    const io = new RecordedIo({ terminal: true });
    const argv = ["train", root, ...out("stopped"), "--no-samples"];
    const running = main(argv, io);
    const watch = setInterval(() => {
      if (/step 1 of 3/.test(io.err)) io.interrupt();
    }, 1);
    expect(await running).toBe(130);
    clearInterval(watch);
    expect(io.screen.at(-1)).toMatch(/^stopped in stage one behind step [12]: .*give the same command again/);
    const again = await run([root, ...out("stopped"), "--no-samples", "--json"]);
    expect(JSON.parse(again.out)).toMatchObject({ done: true, step: 5, stage: "two", skipped: {} });
    const weights = (name: string) => readFile(join(root, name, "model", "model.safetensors"));
    expect((await weights("stopped")).equals(await weights("whole"))).toBe(true);
  });

  it("tells the time left of one stage once", async () => {
    const { err } = await run([root, ...out("one"), "--stage", "one", "--no-samples"]);
    expect(err).toMatch(/^stage one · step 3 of 3 · loss .* · 0 s left · /m);
  });

  it("stops behind a stage, and exports what is there so far", async () => {
    const stopped = await run([root, ...out("staged"), "--stage", "one", "--no-samples", "--json"]);
    expect(JSON.parse(stopped.out)).toMatchObject({ done: true, model: null, step: 3, stage: "one" });
    const dir = join(root, "so-far");
    const exported = await run([root, ...out("staged"), "--export", dir]);
    expect([exported.exitCode, exported.out, exported.err]).toEqual([
      0,
      `${dir}\n`,
      "exported: step 3, stage one\n",
    ]);
    expect(await readdir(dir)).toContain("model.safetensors");
  });

  it("plans, as a table and as JSON", async () => {
    const table = await run([root, "--dry-run", "--gflops", "50", "--machines", "4"]);
    expect(table.out).toMatch(/^micro\nstage +trained +of +steps .* time\none .*\ntwo .*\n.* 4 machines/);
    const one = await run([root, "--dry-run", "--stage", "one", "--json"]);
    const plan = JSON.parse(one.out);
    expect(plan).toMatchObject({ recipe: "micro", stages: [{ stage: "one", steps: 3, examples: 20 }] });
    expect(plan.stages[0].tokens).toBeCloseTo(3 * plan.stages[0].example.tokens, 6);
    expect(plan.stages[0].memory.optimiser).toBe(8 * plan.stages[0].trained.connector);
  });

  it.each<[string[], number, RegExp]>([
    [["nowhere"], 1, /^error\[recipe_invalid\]: there is no recipe nowhere/],
    [["src"], 1, /^error\[recipe_invalid\]/],
    [
      ["recipes/oryx-tiny", "--stage", "nine", "--dry-run"],
      2,
      /^error\[bad_option\].*no stage nine.*0a, .*1a, 1b, 2/,
    ],
    [["recipes/oryx-tiny", "--machines", "2"], 2, /--machines and --gflops go with --dry-run only/],
    [["recipes/oryx-tiny", "--dry-run", "--export", "x"], 2, /--export does not go with --dry-run/],
    [["recipes/oryx-tiny", "--stage", "0a", "--export", "x"], 2, /--stage does not go with --export/],
    [["recipes/oryx-tiny", "--max-minutes", "0"], 2, /'--max-minutes <n>'.*above 0/],
    [["recipes/oryx-tiny", "--keep", "0"], 2, /'--keep <n>'/],
    [["recipes/oryx-tiny", "--dry-run", "--gflops", "fast"], 2, /'--gflops <n>'/],
    [[], 2, /missing required argument 'recipe'/],
  ])("%j is told in a line", async (argv, code, told) => {
    const { exitCode, err } = await run(argv);
    expect(err).toMatch(/^error\[\w+\]: [^\n]+\n$/);
    expect(err).toMatch(told);
    expect(exitCode).toBe(code);
  });

  it("does not write where something else is in the way", async () => {
    const { exitCode, err } = await run([root, ...out("recipe.json")]);
    expect([exitCode, err]).toEqual([1, expect.stringMatching(/^error\[disk\]/)]);
  });

  it("has help that fits a terminal of 80 columns", async () => {
    const { out: help } = await run(["--help"], { terminal: true, columns: 80 });
    expect(help).toContain("oryx train recipes/oryx-tiny --dry-run");
    expect(help.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });
});
