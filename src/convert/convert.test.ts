import { cp, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { conversions, digestOf, errorOf, LAYER, QWEN } from "../../test/support/conversions.ts";
import { Random } from "../core/random.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { readManifest, verifyConverted, type WeightMode } from "../weights/converted.ts";
import { loadFloat32, loadTensor } from "../weights/files.ts";
import { readSafetensors } from "../weights/safetensors.ts";
import { writeSafetensors } from "../weights/safetensors-write.ts";
import type { ConvertOptions } from "./convert.ts";

const LLAMA = "test/fixtures/oryx-llama-tiny";
const { fresh, converted, names } = conversions();

/** The small Llama with an MLP of 128, so that its matrices have 64 and 128 columns. */
async function widened(): Promise<string> {
  const dir = fresh();
  await cp(LLAMA, dir, { recursive: true });
  const config = JSON.parse(await readFile(join(dir, "config.json"), "utf8"));
  await writeFile(join(dir, "config.json"), JSON.stringify({ ...config, intermediate_size: 128 }));
  const tensors = await readSafetensors(join(dir, "model.safetensors"));
  const random = new Random(7);
  for (const [name, { shape }] of tensors) {
    if (!name.includes(".mlp.")) continue;
    const data = Float32Array.from(
      { length: 64 * 128 },
      () => random.next() + random.next() + random.next() - 1.5,
    );
    const wide = shape.map((size) => (size === 112 ? 128 : size));
    tensors.set(name, { dtype: "f32", shape: wide, bytes: new Uint8Array(data.buffer) });
  }
  await writeSafetensors(join(dir, "new"), tensors);
  await rename(join(dir, "new"), join(dir, "model.safetensors"));
  return dir;
}

const parts = (tensors: ReadonlyMap<string, StoredTensor>, name: string): string[] =>
  [...tensors.keys()]
    .filter((key) => key.startsWith(`${name}.weight`))
    .map((key) => key.slice(`${name}.weight`.length));

/** The matrix that the integers stand for, multiplied out one by one. */
async function restored(tensors: ReadonlyMap<string, StoredTensor>, name: string): Promise<Float32Array> {
  const load = async (suffix: string) => {
    const tensor = tensors.get(`${name}.weight${suffix}`) as StoredTensor;
    return { shape: tensor.shape, data: (await loadTensor(tensor)).data as ArrayLike<number> };
  };
  if (tensors.has(`${name}.weight.int4`)) {
    const [{ shape, data }, scales] = [await load(".int4"), (await load(".int4_scales")).data];
    const block = 2 * (shape[2] as number);
    return Float32Array.from({ length: 2 * data.length }, (_, i) => {
      const byte = data[i >> 1] as number;
      return ((i % 2 === 0 ? byte % 16 : byte >> 4) - 8) * (scales[Math.floor(i / block)] as number);
    });
  }
  const [{ shape, data }, scales] = [await load(".int8"), (await load(".int8_scales")).data];
  const [columns = 0, rows = 0] = shape;
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return (data[column * rows + row] as number) * (scales[row] as number);
  });
}

function relative(a: Float32Array, b: Float32Array): number {
  expect(b.length).toBe(a.length);
  const norm = (x: (i: number) => number) => Math.hypot(...Array.from({ length: a.length }, (_, i) => x(i)));
  return norm((i) => (a[i] as number) - (b[i] as number)) / norm((i) => a[i] as number);
}

describe("what becomes of a model", () => {
  it.each([
    ["q4", [".int4", ".int4_scales"], [".int4", ".int4_scales"], [".int4", ".int4_scales"]],
    ["w8", [".int8", ".int8_scales"], [""], [".int8", ".int8_scales"]],
    [
      "auto",
      [".int4", ".int4_scales", ".int8", ".int8_scales"],
      [".int4", ".int4_scales"],
      [".int4", ".int4_scales"],
    ],
    ["f16", [""], [""], [""]],
    ["f32", [""], [""], [""]],
  ] as [WeightMode, string[], string[], string[]][])(
    "%s: layers, embedding and head are stored so",
    async (weights, linear, embedding, head) => {
      const { out, manifest } = await converted(QWEN, { weights });
      const { language, vision, config, visionShape } = await openCheckpoint(out);
      const source = await openCheckpoint(QWEN);
      expect({ config, visionShape }).toEqual({ config: source.config, visionShape: source.visionShape });
      for (const name of ["self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"]) {
        expect(parts(language, `${LAYER}.${name}`).sort()).toEqual(linear);
      }
      expect(parts(language, "model.embed_tokens").sort()).toEqual(embedding);
      expect(parts(language, "lm_head").sort()).toEqual(head);
      expect(parts(vision, "blocks.0.attn.proj").sort()).toEqual([".int8", ".int8_scales"]);
      expect(parts(vision, "patch_embed.proj")).toEqual([""]);
      expect(language.get("model.norm.weight")?.dtype).toBe("bf16");
      expect(language.get("model.mm_projector.proj.0.weight")?.dtype).toBe("bf16");
      if (linear[0] === "") expect(language.get(`${LAYER}.mlp.up_proj.weight`)?.dtype).toBe(weights);
      expect(await verifyConverted(out)).toEqual(manifest);
    },
  );

  it("holds the source's numbers, as near as the manifest says", async () => {
    const { out, manifest } = await converted(QWEN, { weights: "auto" });
    const [source, { language, vision }] = [await openCheckpoint(QWEN), await openCheckpoint(out)];
    for (const name of ["lm_head", `${LAYER}.self_attn.k_proj`, `${LAYER}.mlp.down_proj`]) {
      const error = relative(
        await loadFloat32(source.language.get(`${name}.weight`) as StoredTensor),
        await restored(language, name),
      );
      expect(error).toBeCloseTo(manifest.tensors[`${name}.weight.int4`]?.error as number, 5);
      expect(error).toBeLessThan(0.1);
    }
    const error = relative(
      await loadFloat32(source.vision.get("blocks.2.mlp.fc1.weight") as StoredTensor),
      await restored(vision, "blocks.2.mlp.fc1"),
    );
    expect(error).toBeCloseTo(manifest.tensors["blocks.2.mlp.fc1.weight.int8"]?.error as number, 5);
    expect(error).toBeLessThan(0.01);
    const bias = `${LAYER}.self_attn.q_proj.bias`;
    expect(await loadTensor(language.get(bias) as StoredTensor)).toEqual(
      await loadTensor(source.language.get(bias) as StoredTensor),
    );
  });

  it("f32 holds exactly the numbers of bf16", async () => {
    const { out } = await converted(QWEN, { weights: "f32", vision: "f32" });
    const [source, result] = [await openCheckpoint(QWEN), await openCheckpoint(out)];
    for (const [name, tensor] of source.language) {
      expect(await loadFloat32(result.language.get(name) as StoredTensor)).toEqual(await loadFloat32(tensor));
    }
    expect([...result.vision.values()].map(({ dtype }) => dtype)).toEqual(
      [...source.vision.values()].map(() => "bf16"),
    );
  });

  it("a matrix whose rows are not whole blocks is int8 instead, and named", async () => {
    const { out, notes } = await converted(LLAMA);
    const { language } = await openCheckpoint(out);
    expect(parts(language, `${LAYER}.mlp.down_proj`)).toEqual([".int8", ".int8_scales"]);
    expect(parts(language, `${LAYER}.mlp.up_proj`)).toEqual([".int4", ".int4_scales"]);
    expect(notes).toContain(`${LAYER}.mlp.down_proj.weight is int8: its 112 columns are no multiple of 32`);
  });

  it("blocks are as large as was asked for, or as the columns allow, which is told", async () => {
    const source = await widened();
    const { out, manifest, notes } = await converted(source, { weights: "auto", block: 128 });
    const [published, { language }] = [await openCheckpoint(source), await openCheckpoint(out)];
    const blockOf = (name: string) => 2 * (language.get(`${name}.weight.int4`)?.shape[2] as number);
    expect(manifest.block).toBe(128);
    expect([`${LAYER}.mlp.down_proj`, `${LAYER}.mlp.up_proj`, "lm_head"].map(blockOf)).toEqual([128, 64, 64]);
    expect(notes).toContain(
      `${LAYER}.mlp.up_proj.weight has blocks of 64: its 64 columns are no multiple of 128`,
    );
    expect(notes.filter((note) => /down_proj|int8/.test(note))).toEqual([]);
    for (const name of [`${LAYER}.mlp.down_proj`, `${LAYER}.mlp.up_proj`, "model.embed_tokens"]) {
      const values = await loadFloat32(published.language.get(`${name}.weight`) as StoredTensor);
      const error = relative(values, await restored(language, name));
      expect(error).toBeCloseTo(manifest.tensors[`${name}.weight.int4`]?.error as number, 5);
      expect(error).toBeLessThan(0.12);
    }
    expect(await verifyConverted(out)).toEqual(manifest);
    const golden = await converted(QWEN, { block: 128 });
    expect(golden.notes).toContain(
      `${LAYER}.mlp.up_proj.weight has blocks of 32: its 96 columns are no multiple of 128`,
    );
    expect((await converted(LLAMA, { block: 64 })).notes).toContain(
      `${LAYER}.mlp.down_proj.weight is int8: its 112 columns are no multiple of 32`,
    );
  });

  it("larger blocks take fewer bytes and lose more", async () => {
    const source = await widened();
    const name = `${LAYER}.mlp.down_proj.weight.int4`;
    const made = [];
    for (const block of [32, 64, 128] as const) {
      const { tensors } = (await converted(source, { block })).manifest;
      made.push({ bytes: tensors[`${name}_scales`]?.bytes, error: tensors[name]?.error as number });
    }
    expect(made.map(({ bytes }) => bytes)).toEqual([1024, 512, 256]);
    expect(made.map(({ error }) => error)).toEqual(made.map(({ error }) => error).sort((a, b) => a - b));
  });

  it.each([
    [{ weights: "w8", block: 64 }, "blocks are of 4-bit weights, and w8 has none"],
    [{ weights: "q4", block: 48 }, "there are no blocks of 48"],
  ] as [Partial<ConvertOptions>, string][])(
    "a block that cannot be is refused: %j",
    async (options, told) => {
      const error = await errorOf(converted(QWEN, options));
      expect([error.code, error.message]).toEqual(["bad_option", told]);
    },
  );

  it("a folder that was made before blocks had sizes has those of 32", async () => {
    const { out, manifest } = await converted(QWEN);
    const { block, ...before } = manifest;
    await writeFile(join(out, "oryx-format.json"), JSON.stringify(before));
    expect([block, (await readManifest(out)).block]).toEqual([32, 32]);
    expect(await verifyConverted(out)).toEqual(manifest);
  });

  it("tied: one int4 table serves both ends; in w8 the head is an int8 copy", async () => {
    const tied = fresh();
    await cp(QWEN, tied, { recursive: true });
    const config = JSON.parse(await readFile(join(tied, "config.json"), "utf8"));
    await writeFile(join(tied, "config.json"), JSON.stringify({ ...config, tie_word_embeddings: true }));
    const q4 = await openCheckpoint((await converted(tied)).out);
    expect(parts(q4.language, "model.embed_tokens")).toEqual([".int4", ".int4_scales"]);
    expect(parts(q4.language, "lm_head")).toEqual([]);
    const w8 = await openCheckpoint((await converted(tied, { weights: "w8" })).out);
    expect(parts(w8.language, "model.embed_tokens")).toEqual([""]);
    expect(parts(w8.language, "lm_head")).toEqual([".int8", ".int8_scales"]);
    const table = await loadFloat32(w8.language.get("model.embed_tokens.weight") as StoredTensor);
    expect(relative(table, await restored(w8.language, "lm_head"))).toBeLessThan(0.01);
  });

  it("--keep leaves the matrices of a pattern as they are", async () => {
    const keep = ["model.layers.0.*", "*fc?.weight"];
    const { out, manifest } = await converted(QWEN, { keep });
    const { language, vision } = await openCheckpoint(out);
    expect(parts(language, "model.layers.0.mlp.up_proj")).toEqual([""]);
    expect(parts(language, "model.layers.1.mlp.up_proj")).toEqual([".int4", ".int4_scales"]);
    expect(parts(vision, "blocks.1.mlp.fc2")).toEqual([""]);
    expect(parts(vision, "blocks.1.attn.qkv")).toEqual([".int8", ".int8_scales"]);
    expect(manifest.keep).toEqual(keep);
    const error = await errorOf(converted(QWEN, { keep: ["model.layer.0.*"] }));
    expect([error.code, error.message]).toEqual(["bad_option", 'no matrix is called "model.layer.0.*"']);
  });

  it("every f32 is aligned to 4 bytes, and every matrix of even size to 64", async () => {
    for (const src of [QWEN, LLAMA]) {
      const { language, vision } = await openCheckpoint((await converted(src, { weights: "auto" })).out);
      for (const { dtype, bytes } of [...language.values(), ...vision.values()]) {
        if (bytes instanceof Uint8Array) throw new Error("not in a file");
        if (dtype === "f32") expect(bytes.offset % 4).toBe(0);
        if (bytes.byteLength % 64 === 0) expect(bytes.offset % 64).toBe(0);
      }
    }
  });

  it("depends on source and options alone", async () => {
    const [one, other] = [await converted(QWEN), await converted(QWEN)];
    expect(await digestOf(one.out)).toBe(await digestOf(other.out));
    expect(one.manifest.source).toEqual({ name: "oryx-qwen-tiny" });
    expect((await names()).filter((name) => /partial|lock|old/.test(name))).toEqual([]);
  });

  it("records the commit of a model from the hub's cache", async () => {
    const commit = "0123456789abcdef0123456789abcdef01234567";
    const snapshot = join(fresh(), "models--org--tiny", "snapshots", commit);
    await cp(QWEN, snapshot, { recursive: true });
    expect((await converted(snapshot)).manifest.source).toEqual({ name: "org/tiny", commit });
  });

  it("names matrices with outliers, and refuses numbers that are none", async () => {
    const spoiled = async (value: number) => {
      const dir = fresh();
      await cp(LLAMA, dir, { recursive: true });
      const tensors = await readSafetensors(join(dir, "model.safetensors"));
      const name = `${LAYER}.mlp.up_proj.weight`;
      const data = Float32Array.from({ length: 112 * 64 }, (_, i) => (i % 32 === 0 ? value : 0.05));
      tensors.set(name, { dtype: "f32", shape: [112, 64], bytes: new Uint8Array(data.buffer) });
      await writeSafetensors(join(dir, "new"), tensors);
      await cp(join(dir, "new"), join(dir, "model.safetensors"));
      return dir;
    };
    // The largest of a block becomes 8 steps, so all others lie half way between two.
    const { coarse } = await converted(await spoiled(0.8));
    expect(coarse.map(({ name }) => name)).toContain(`${LAYER}.mlp.up_proj.weight.int4`);
    const endless = await spoiled(Number.POSITIVE_INFINITY);
    const error = await errorOf(converted(endless));
    expect([error.code, error.message]).toEqual([
      "weights_malformed",
      `"${LAYER}.mlp.up_proj.weight" holds infinity or what is not a number`,
    ]);
    expect((await errorOf(converted(await spoiled(70_000), { weights: "f16" }))).message).toMatch(
      /"model\.layers\.1\.mlp\.up_proj\.weight" holds 70000, which f16 cannot/,
    );
  });
});
