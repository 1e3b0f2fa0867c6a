import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Random } from "../src/core/random.ts";

/**
 * A run that is killed again and again must end as one that was left alone. Small here; the figures that are told of
 * come from `TRAIN_STEPS=200 TRAIN_KILLS=20 npx vitest run test/train-resume`.
 */
const STEPS = Number(process.env.TRAIN_STEPS ?? 12);
const KILLS = Number(process.env.TRAIN_KILLS ?? 4);
const THREADS = process.env.TRAIN_THREADS ?? "1";
const MODEL = resolve("test/fixtures/oryx-qwen-tiny");

const small = { least: 64 * 64, most: 64 * 64, stride: 64 };
const common = { batch: 2, maxTokens: 2048, rate: 1e-3, microTokens: 600 };
const views = { image: { most: 96 * 96, overview: 32 * 32 }, video: small, video_long: small };
const world = (kinds: object) => [{ from: "world", kinds, count: 50 }];
const first = Math.ceil(STEPS / 3);

/** Three stages: all, with LoRA, and of part of the model, so that arenas are laid out anew and merged on the way. */
const RECIPE = {
  recipe: 1,
  name: "micro",
  seed: 3,
  weights: "f32",
  models: {
    micro: {
      config: join(MODEL, "config.json"),
      tower: { blocks: 2, mlpWidth: 96, grid: 8 },
      compressorWidth: 256,
      start: { tower: "random", connector: MODEL, language: MODEL },
    },
  },
  stages: [
    {
      name: "all",
      ...common,
      views,
      data: world({ count: 1 }),
      train: ["tower", "connector", "language"],
      steps: first,
    },
    {
      name: "low",
      ...common,
      views,
      data: world({ count: 1 }),
      train: ["connector"],
      lora: { rank: 2, alpha: 4 },
      steps: 2,
    },
    {
      name: "part",
      ...common,
      views,
      data: world({ read: 1, views: 1 }),
      train: ["connector", "model.layers.1.*"],
      steps: STEPS - first - 2,
    },
  ],
};

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-train-"));
  await writeFile(join(root, "recipe.json"), JSON.stringify(RECIPE));
});
afterAll(() => rm(root, { recursive: true }));

/** Trains in a process of its own, which is killed `delayMs` after it has noted so many steps in all. */
async function train(out: string, killAtStep = Number.POSITIVE_INFINITY, delayMs = 0) {
  const words = [
    "train",
    root,
    "--out",
    join(root, out),
    "--snapshot-steps",
    "1",
    "--no-samples",
    "--threads",
    THREADS,
  ];
  const child = spawn(process.execPath, ["bin/oryx.js", ...words]);
  let err = "";
  child.stderr.on("data", (bytes) => {
    err += bytes;
  });
  const watch = setInterval(async () => {
    const text = await readFile(join(root, out, "metrics.jsonl"), "utf8").catch(() => "");
    if (text.split("\n").length > killAtStep) setTimeout(() => child.kill("SIGKILL"), delayMs);
  }, 5);
  const code = await new Promise<number | null>((done) => child.on("close", done));
  clearInterval(watch);
  return { code, err };
}

/** What was noted of each step, but for the time that it took. */
async function metricsOf(out: string) {
  const text = await readFile(join(root, out, "metrics.jsonl"), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => ({ ...JSON.parse(line), seconds: 0 }));
}

async function hashOf(out: string): Promise<string> {
  const weights = await readFile(join(root, out, "model", "model.safetensors"));
  return createHash("sha256").update(weights).digest("hex");
}

// Skipped only in a working tree that has not been built: what is killed is the command itself.
describe.skipIf(!existsSync("dist/cli/train.js"))("a training", () => {
  it(
    `of ${STEPS} steps that is killed ${KILLS} times has the losses and weights of one that was left alone`,
    async () => {
      const whole = await train("whole");
      expect([whole.code, whole.err]).toEqual([
        0,
        expect.stringMatching(new RegExp(`^done: ${STEPS} steps`, "m")),
      ]);
      const random = new Random(Date.now());
      let kills = 0;
      for (let i = 1; i <= KILLS; i++) {
        const at = Math.max(1, Math.floor(((i - random.next()) * STEPS) / KILLS));
        const { code } = await train("killed", at, 120 * random.next());
        if (code === null) kills++;
      }
      expect(kills).toBeGreaterThan(KILLS / 2); // a run may end before its killer comes
      const { code, err } = await train("killed");
      expect([code, err]).toEqual([0, expect.stringMatching(/^going on at step \d+/)]);
      const metrics = await metricsOf("killed");
      expect(metrics.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, n) => n + 1));
      expect(metrics).toEqual(await metricsOf("whole"));
      expect(await hashOf("killed")).toBe(await hashOf("whole"));
    },
    60_000 * (1 + STEPS / 20),
  );
});
