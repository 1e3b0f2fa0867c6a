import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Random } from "../core/random.ts";
import { Oryx } from "../node/oryx.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { loadFloat32 } from "../weights/files.ts";
import { toBfloat16 } from "../weights/floats.ts";
import { type ExportTensor, exportModel } from "./export.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const TOWER = "model.vision_tower.vision_tower.";
const from = { configPath: `${GOLDEN}/config.json`, tokenizerDir: GOLDEN };

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-export-"));
});
afterEach(() => rm(root, { recursive: true }));

async function golden(): Promise<Map<string, ExportTensor>> {
  const { language, vision } = await openCheckpoint(GOLDEN);
  const tensors = new Map<string, ExportTensor>();
  for (const [name, stored] of language)
    tensors.set(name, { shape: stored.shape, data: await loadFloat32(stored) });
  for (const [name, stored] of vision)
    tensors.set(TOWER + name, { shape: stored.shape, data: await loadFloat32(stored) });
  return tensors;
}

async function answer(where: string): Promise<string> {
  const oryx = await Oryx.load(where, { threads: 1 });
  let text = "";
  const request = { media: [`${GOLDEN}/media/image.png`], question: "What is it?", maxTokens: 12 };
  for await (const piece of oryx.ask(request)) text += piece.text;
  await oryx.close();
  return text;
}

describe("an exported model", () => {
  it("answers as the one that its weights are from", async () => {
    const out = join(root, "model");
    await exportModel(out, await golden(), { ...from, type: "f32" });
    expect(await answer(out)).toBe(await answer(GOLDEN));
  });

  it("is written beside itself first, also where its folder is named with a slash at its end", async () => {
    const folder = join(root, "alone");
    await exportModel(`${join(folder, "model")}/`, await golden(), from);
    expect(await readdir(folder)).toEqual(["model"]);
  });

  it.each(["bf16", "f32"] as const)(
    "holds as %s what it was given, in one file or in shards",
    async (type) => {
      const tensors = await golden();
      for (const shardBytes of [1e9, 100_000]) {
        const out = join(root, `${shardBytes}`);
        await exportModel(out, tensors, { ...from, type, shardBytes });
        const read = await openCheckpoint(out);
        expect(read.files.length).toBeGreaterThan(shardBytes < 1e9 ? 2 : 0);
        const random = new Random(5);
        const sample = [...tensors].filter(() => random.next() < 0.3);
        for (const [name, { shape, data }] of sample) {
          const stored = name.startsWith(TOWER)
            ? read.vision.get(name.slice(TOWER.length))
            : read.language.get(name);
          expect([name, stored?.dtype, stored?.shape]).toEqual([name, type, shape]);
          const back = await loadFloat32(stored as NonNullable<typeof stored>);
          const [expected, got] = type === "f32" ? [data, back] : [toBfloat16(data), toBfloat16(back)];
          expect(Buffer.from(got.buffer).equals(Buffer.from(expected.slice().buffer))).toBe(true);
        }
      }
    },
  );

  it("says of itself neither that it is random nor where its author had the tower", async () => {
    const out = join(root, "model");
    await exportModel(out, await golden(), from);
    const config = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
    expect(config).toMatchObject({ model_type: "oryx_qwen", torch_dtype: "bfloat16" });
    expect(config).not.toHaveProperty("random_weights");
    expect(config).not.toHaveProperty("mm_vision_tower");
    expect(await readFile(join(out, "tokenizer.json"))).toEqual(
      await readFile(join(GOLDEN, "tokenizer.json")),
    );
  });

  it("takes the place of the one before, and an attempt that fails leaves that as it was", async () => {
    const out = join(root, "model");
    await exportModel(out, await golden(), from);
    await exportModel(out, await golden(), { ...from, type: "f32" });
    expect(await readdir(root)).toEqual(["model"]);
    const nonsense = new Map([["x", { shape: [3], data: new Float32Array(2) }]]);
    await expect(exportModel(out, nonsense, from)).rejects.toMatchObject({ code: "bad_option" });
    expect(await readdir(root)).toEqual(["model"]);
    await openCheckpoint(out);
  });

  it("takes no other place: a folder of other things stays as it is, and so does a file", async () => {
    await writeFile(join(root, "notes.txt"), "mine");
    for (const out of [root, join(root, "notes.txt")]) {
      await expect(exportModel(out, await golden(), from)).rejects.toMatchObject({ code: "disk" });
    }
    expect(await readdir(root)).toEqual(["notes.txt"]);
    expect(await readFile(join(root, "notes.txt"), "utf8")).toBe("mine");
  });
});
