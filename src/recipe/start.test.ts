import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseConfig } from "../model/config.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { type ModelShape, Parameters } from "../train/parameters.ts";
import { partOf } from "../train/selection.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { loadFloat32 } from "../weights/files.ts";
import type { Recipe } from "./recipe.ts";
import type { Model } from "./schema.ts";
import { startParameters } from "./start.ts";

const GOLDEN = resolve("test/fixtures/oryx-qwen-tiny");
const TOWER = { blocks: 3, mlpWidth: 239, grid: 32 };

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

async function parametersOf(change: Partial<ModelShape["visionShape"]> = {}): Promise<Parameters> {
  const config = parseConfig(JSON.parse(await readFile(`${GOLDEN}/config.json`, "utf8")));
  const visionShape = { width: 64, heads: 4, ...TOWER, ...change };
  return new Parameters({ config, visionShape, compressorWidth: 256 }, { trained: ["connector"] });
}

async function started(start: Model["start"], before?: Parameters, change = {}): Promise<Parameters> {
  const parameters = await parametersOf(change);
  const recipe = { dir: resolve("test"), seed: 4 } as Recipe;
  const model = { config: "config.json", tower: TOWER, compressorWidth: 256, start };
  const missing = async (where: string) => resolve("no-such-cache", where);
  await startParameters(parameters, recipe, model, { resolve: missing, before, runtime });
  return parameters;
}

const bytesOf = (parameters: Parameters, name: string) =>
  Buffer.from(parameters.tensor(name).data.slice().buffer);
const random = { tower: "random", connector: "random", language: "random" };

describe("what a stage starts from", () => {
  it("is each part's own: a folder, relative to the recipe, the stage before, or chance", async () => {
    const before = await started(random);
    before.tensor("model.mm_projector.image_begin").data.fill(7);
    const mixed = await started(
      { tower: "fixtures/oryx-qwen-tiny", connector: "carried", language: GOLDEN },
      before,
    );
    const { language, vision } = await openCheckpoint(GOLDEN);
    for (const name of mixed.names()) {
      const part = partOf(name);
      const short = name.replace("model.vision_tower.vision_tower.", "");
      const stored = part === "connector" ? undefined : (part === "tower" ? vision : language).get(short);
      const expected = stored
        ? Buffer.from((await loadFloat32(stored)).slice().buffer)
        : bytesOf(before, name);
      expect([name, bytesOf(mixed, name).equals(expected)]).toEqual([name, true]);
    }
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ["nothing to carry over", () => started({ ...random, tower: "carried" }), "recipe_invalid"],
    ["a folder that is not there", () => started({ ...random, language: "nowhere" }), "model_missing"],
    ["a folder without the part", () => started({ ...random, connector: "../src" }), "weights_missing"],
    [
      "a tower of more blocks",
      () => started({ ...random, tower: GOLDEN }, undefined, { blocks: 2 }),
      "weights_mismatch",
    ],
    [
      "a tower of fewer blocks",
      () => started({ ...random, tower: GOLDEN }, undefined, { blocks: 4 }),
      "weights_missing",
    ],
    [
      "a table of another size",
      () => started({ ...random, tower: GOLDEN }, undefined, { grid: 8 }),
      "weights_mismatch",
    ],
  ])("with %s is refused", async (_, start, code) => {
    await expect(start()).rejects.toMatchObject({ code });
  });
});
