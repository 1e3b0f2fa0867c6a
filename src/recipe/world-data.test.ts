import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Dataset, IGNORED } from "../data/example.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { openTokenizer } from "../weights/tokenizer.ts";
import { EYE } from "../world/eye.ts";
import { FIRST_TRAINING_SEED } from "../world/seeds.ts";
import { composeSample } from "../world/world.ts";
import { type WorldDataOptions, worldDataset } from "./world-data.ts";

const SEED = 3;
const WORLD = { split: "train", kinds: { count: 1, motion: 1 } } as const;

let data: Dataset;
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await openTokenizer("recipes/oryx-tiny");
  data = datasetOf({ world: WORLD });
});
afterAll(() => data.close());

describe("a training set of the world", () => {
  it("shows nothing that an evaluation draws: its samples have seeds of their own", async () => {
    expect(data.length).toBe(8);
    for (const index of [0, 7]) {
      const { id } = await data.example(index);
      const seed = Number(id.split("-").at(-1));
      expect(seed).toBe(FIRST_TRAINING_SEED + SEED * 2 ** 32 + index);
      expect(id).toBe(`world-train-${composeSample(seed, WORLD).primary}-${seed}`);
    }
  });

  it("gives the same example for the same number", async () => {
    expect(await data.example(5)).toEqual(await data.example(5));
  });

  it("shows nothing where all is told: the reasons of each answer stand before its question", async () => {
    const told = datasetOf({ world: { split: "train", kinds: { choice: 1, video_choice: 1 } }, told: true });
    for (let index = 0; index < told.length; index++) {
      const { visuals, prompt, labels, tokens } = await told.example(index);
      expect(visuals).toEqual([]);
      expect(tokens).toBe(prompt.length);
      const text = tokenizer.decode(prompt.map(Number));
      const turns = [...text.matchAll(/user\n(?<told>[^\n]*)\nassistant\n(?<reasons>[^\n]*), so [^\n]*\./g)];
      expect(turns.length).toBeGreaterThan(0);
      for (const { groups } of turns) expect(groups?.told).toContain(`${groups?.reasons}. `);
      // Only answers are learnt, and what frames each turn.
      expect(labels.filter((label) => label !== IGNORED).length).toBeLessThan(prompt.length);
    }
  });

  it("tells what would be seen, and not what follows from it", async () => {
    const told = datasetOf({ world: { split: "train", kinds: { steps: 1, order: 1 } }, told: true });
    let following = 0;
    for (let index = 0; index < told.length; index++) {
      const { prompt } = await told.example(index);
      for (const turn of tokenizer.decode(prompt.map(Number)).split("user\n").slice(1)) {
        const [, seen = "", upTo] = /^(.*)\. What .*\nassistant\n(.*?)(?: before .*)?, so /.exec(turn) ?? [];
        if (upTo === undefined) continue;
        expect(seen).not.toContain("before");
        expect(seen.startsWith(upTo)).toBe(true);
        following++;
      }
    }
    expect(following).toBeGreaterThan(3);
  });
});

const datasetOf = (options: Pick<WorldDataOptions, "world" | "told">): Dataset =>
  worldDataset({
    ...options,
    count: 8,
    seed: SEED,
    tokenizer,
    style: "qwen",
    views: EYE,
    maxTokens: 8192,
  });
