import { readFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { loadFloat32 } from "./files.ts";
import { readSafetensors } from "./safetensors.ts";
import { writeSafetensors } from "./safetensors-write.ts";
import { readTowerFile } from "./tower.ts";

const fixture = (name: string) => fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));
const QWEN = fixture("oryx-qwen-tiny");
const LLAMA = fixture("oryx-llama-tiny");

let root: string;
/** A fresh copy of a fixture's model files, to be spoiled. */
let dir: string;
let copies = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-checkpoint-"));
});
afterAll(() => rm(root, { recursive: true }));
beforeEach(() => {
  dir = join(root, String(copies++));
});

async function copyOf(source: string): Promise<void> {
  const wanted = /config\.json$|model.*safetensors|index\.json$|oryx_vit\.pth$|tiny$/;
  await cp(source, dir, { recursive: true, filter: (path) => wanted.test(path) });
}

async function edit(file: string, change: (json: Record<string, never>) => void): Promise<void> {
  const json = JSON.parse(await readFile(join(dir, file), "utf8"));
  change(json);
  await writeFile(join(dir, file), JSON.stringify(json));
}

/** Rewrites a weight file after a change to its tensors. */
async function editWeights(
  file: string,
  change: (tensors: Map<string, StoredTensor>) => void,
): Promise<void> {
  const tensors = await readSafetensors(join(dir, file));
  change(tensors);
  await writeSafetensors(join(dir, `${file}.new`), tensors);
  await rename(join(dir, `${file}.new`), join(dir, file));
}

async function errorOf(opening: Promise<unknown>): Promise<OryxError> {
  const error = await opening.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(OryxError);
  return error;
}

/** A tensor's element, read by hand: the header by JSON.parse, the value by DataView. */
function elementByHand(file: string, name: string, index: number): number {
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const entry = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes))[name];
  const data = new DataView(bytes.buffer, bytes.byteOffset + 8 + headerBytes + entry.data_offsets[0]);
  if (entry.dtype === "F32") return data.getFloat32(4 * index, true);
  const word = new DataView(new ArrayBuffer(4));
  word.setUint16(0, data.getUint16(2 * index, true));
  return word.getFloat32(0);
}

describe("openCheckpoint on the fixtures", () => {
  it("opens the Qwen model: two bf16 shards and a bf16 tower", async () => {
    const { config, language, vision, visionShape, generation, compressorWidth, bytes, files } =
      await openCheckpoint(QWEN);
    expect(config.family).toBe("qwen");
    expect(generation?.eosTokenIds).toEqual([458, 456]);
    expect(visionShape).toEqual({ width: 64, blocks: 3, heads: 4, mlpWidth: 239, grid: 32 });
    expect(compressorWidth).toBe(256);
    const index = JSON.parse(readFileSync(join(QWEN, "model.safetensors.index.json"), "utf8"));
    expect([...language.keys()].sort()).toEqual(Object.keys(index.weight_map).sort());
    expect(language.get("model.layers.1.mlp.down_proj.weight")).toMatchObject({
      dtype: "bf16",
      shape: [96, 160],
    });
    expect(vision.get("patch_embed.proj.weight")).toMatchObject({ dtype: "bf16", shape: [64, 3, 16, 16] });
    const towerBytes = [...vision.values()].reduce((sum, tensor) => sum + tensor.bytes.byteLength, 0);
    expect(bytes).toBe(index.metadata.total_size + towerBytes);
    expect(files.map((file) => file.slice(QWEN.length + 1))).toEqual([
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
      "oryx_vit.pth",
    ]);
  });

  it("opens the Llama model: one f32 file without biases, and an f32 tower", async () => {
    const { config, language, vision, visionShape } = await openCheckpoint(LLAMA);
    expect(config.family).toBe("llama");
    expect(language.size).toBe(33);
    expect(vision.size).toBe(39);
    expect(visionShape).toMatchObject({ blocks: 3, grid: 32, mlpWidth: 239 });
    expect([...language.keys()].filter((name) => /[qkv]_proj\.bias/.test(name))).toEqual([]);
  });

  it("finds the same values that lie in the files", async () => {
    const cases: [string, string, string, number][] = [
      [QWEN, "model-00001-of-00002.safetensors", "model.embed_tokens.weight", 44_543],
      [QWEN, "model-00002-of-00002.safetensors", "model.norm.weight", 17],
      [QWEN, "model-00002-of-00002.safetensors", "model.mm_projector.image_end", 95],
      [LLAMA, "model.safetensors", "model.layers.1.self_attn.o_proj.weight", 4095],
    ];
    for (const [folder, file, name, index] of cases) {
      const { language } = await openCheckpoint(folder);
      const value = (await loadFloat32(language.get(name)!))[index];
      expect(value).toBe(elementByHand(join(folder, file), name, index));
    }
  });

  it("finds the tower's bytes where a search for the zip's own headers finds them", async () => {
    for (const folder of [QWEN, LLAMA]) {
      const file = readFileSync(join(folder, "oryx_vit.pth"));
      const { vision } = await openCheckpoint(folder);
      // The first tensor lies in member 0, the second in member 1, and so on; data follow name and padding.
      let member = 0;
      for (const stored of vision.values()) {
        const { dtype, bytes } = stored;
        const nameAt = file.indexOf(`oryx_vit/data/${member}`);
        const dataAt = nameAt + file.readUInt16LE(nameAt - 4) + file.readUInt16LE(nameAt - 2);
        expect(bytes).toMatchObject({ offset: dataAt });
        const word = new DataView(new ArrayBuffer(4));
        if (dtype === "bf16") word.setUint16(0, file.readUInt16LE(dataAt + 2));
        else word.setUint32(0, file.readUInt32LE(dataAt + 4));
        expect((await loadFloat32(stored))[1]).toBe(word.getFloat32(0));
        member++;
      }
    }
  });
});

describe("openCheckpoint finds the vision tower", () => {
  const tower = () => readTowerFile(join(QWEN, "oryx_vit.pth"));

  it("inside the model's own file, with parts that nothing uses", async () => {
    await copyOf(LLAMA);
    const own = await readTowerFile(join(dir, "oryx_vit.pth"));
    const unused: StoredTensor = { dtype: "f32", shape: [1], bytes: new Uint8Array(4) };
    await editWeights("model.safetensors", (tensors) => {
      for (const [name, tensor] of own) tensors.set(`model.vision_tower.vision_tower.${name}`, tensor);
      tensors.set("model.vision_tower.vision_tower.attn_pool.latent", unused);
      tensors.set("model.vision_tower.vision_tower.norm.weight", unused);
    });
    await rm(join(dir, "oryx_vit.pth"));
    const { vision, files, visionShape } = await openCheckpoint(dir);
    expect([...vision.keys()].sort()).toEqual([...own.keys()].sort());
    expect(visionShape.blocks).toBe(3);
    expect(files).toHaveLength(1);
  });

  it("beside the config as safetensors", async () => {
    await copyOf(QWEN);
    await rm(join(dir, "oryx_vit.pth"));
    await writeSafetensors(join(dir, "oryx_vit.safetensors"), await tower());
    expect((await openCheckpoint(dir)).vision.size).toBe(39);
  });

  it.each([
    ["as a file", "oryx_vit.pth"],
    ["as a folder", ""],
  ])("where the user says, %s", async (_, path) => {
    await copyOf(QWEN);
    await rm(join(dir, "oryx_vit.pth"));
    const { files } = await openCheckpoint(dir, { visionTower: join(QWEN, path) });
    expect(files.at(-1)).toBe(join(QWEN, "oryx_vit.pth"));
  });

  it("where its author had it", async () => {
    await copyOf(QWEN);
    await mkdir(join(dir, "far"));
    await rename(join(dir, "oryx_vit.pth"), join(dir, "far", "tower.pth"));
    await edit("config.json", (json) => {
      Object.assign(json, { mm_vision_tower: `oryx_vit:${join(dir, "far", "tower.pth")}` });
    });
    expect((await openCheckpoint(dir)).files.at(-1)).toBe(join(dir, "far", "tower.pth"));
  });

  it("nowhere, and says where it looked", async () => {
    await copyOf(QWEN);
    await rm(join(dir, "oryx_vit.pth"));
    const error = await errorOf(openCheckpoint(dir, { visionTower: "/elsewhere" }));
    expect(error.code).toBe("weights_missing");
    expect(error.message).toContain("/elsewhere");
  });
});

describe("openCheckpoint refuses", () => {
  const SHARD = "model-00001-of-00002.safetensors";
  const OTHER = "model-00002-of-00002.safetensors";
  const INDEX = "model.safetensors.index.json";
  const tensor = (...shape: number[]): StoredTensor => ({
    dtype: "f32",
    shape,
    bytes: new Uint8Array(shape.reduce((n, d) => n * d, 4)),
  });
  const mapIndex = (name: string, shard: string) =>
    edit(INDEX, (json) => {
      Object.assign(json.weight_map!, { [name]: shard });
    });

  it.each<[string, () => Promise<void>, string, RegExp]>([
    ["a folder that is not there", async () => undefined, "model_missing", /no model folder/],
    ["a folder without a config", () => mkdir(dir).then(), "model_missing", /config\.json/],
    [
      "a config that is no JSON",
      async () => spoil(QWEN, "config.json", "{"),
      "config_invalid",
      /not valid JSON/,
    ],
    [
      "a config with a key twice",
      async () => spoil(QWEN, "config.json", '{"a":1,"a":2}'),
      "config_invalid",
      /twice/,
    ],
    [
      "a config that is a list",
      async () => spoil(QWEN, "config.json", "[]"),
      "config_invalid",
      /not a JSON object/,
    ],
    ["no weights", async () => drop(LLAMA, "model.safetensors"), "weights_missing", /neither/],
    ["a missing shard", async () => drop(QWEN, OTHER), "weights_missing", /00002-of-00002/],
    ["an index without a map", async () => spoil(QWEN, INDEX, "{}"), "weights_malformed", /weight_map/],
    [
      "an index that leaves its folder",
      async () => {
        await copyOf(QWEN);
        await mapIndex("lm_head.weight", "../model.safetensors");
      },
      "weights_malformed",
      /\.\.\/model\.safetensors/,
    ],
    [
      "an index that names the wrong shard",
      async () => {
        await copyOf(QWEN);
        await mapIndex("lm_head.weight", OTHER);
      },
      "weights_malformed",
      /lm_head.*not in this shard/,
    ],
    [
      "a tensor in two shards",
      async () => {
        await copyOf(QWEN);
        await editWeights(OTHER, (tensors) => tensors.set("lm_head.weight", tensor(1)));
      },
      "weights_malformed",
      /lm_head.*another shard/,
    ],
    [
      "a tensor that the index does not list",
      async () => {
        await copyOf(QWEN);
        await editWeights(SHARD, (tensors) => tensors.set("stranger", tensor(1)));
      },
      "weights_malformed",
      /stranger.*not listed/,
    ],
    [
      "absent and misshapen tensors, all in one message",
      async () => {
        await copyOf(LLAMA);
        await editWeights("model.safetensors", (tensors) => {
          tensors.delete("model.norm.weight");
          tensors.delete("model.layers.1.mlp.up_proj.weight");
          tensors.set("model.mm_projector.image_sep", tensor(1, 64));
        });
      },
      "weights_missing",
      /missing \(2\): "model.layers.1.mlp.up_proj.weight", "model.norm.weight"; of another shape \(1\): .*image_sep/,
    ],
    [
      "a tensor that the model has no place for",
      async () => {
        await copyOf(LLAMA);
        await editWeights("model.safetensors", (tensors) =>
          tensors.set("model.layers.0.self_attn.q_norm.weight", tensor(16)),
        );
      },
      "weights_mismatch",
      /surplus \(1\): .*q_norm/,
    ],
    [
      "weights that are integers",
      async () => {
        await copyOf(LLAMA);
        await editWeights("model.safetensors", (tensors) =>
          tensors.set("model.norm.weight", { dtype: "i8", shape: [64], bytes: new Uint8Array(64) }),
        );
      },
      "weights_mismatch",
      /model.norm.weight.* is i8/,
    ],
    [
      "more layers than there are weights, the first ten by name",
      async () => {
        await copyOf(LLAMA);
        await edit("config.json", (json) => Object.assign(json, { num_hidden_layers: 4 }));
      },
      "weights_missing",
      /missing \(18\): .*layers\.2.*and 8 more/,
    ],
    [
      "a tower of another width",
      async () => {
        await copyOf(LLAMA);
        await edit("config.json", (json) => Object.assign(json, { mm_hidden_size: 128 }));
      },
      "weights_mismatch",
      /vision tower: .*pos_embed/,
    ],
    [
      "a tower whose position table is no square",
      () => spoilTower((tensors) => tensors.set("pos_embed", tensor(1, 1023, 64))),
      "weights_mismatch",
      /1023 places/,
    ],
    [
      "a tower without a position table",
      () => spoilTower((tensors) => tensors.delete("pos_embed")),
      "weights_missing",
      /"pos_embed"/,
    ],
    [
      "a tower with a block numbered far out",
      () => spoilTower((tensors) => tensors.set("blocks.4000000000.norm1.bias", tensor(64))),
      "weights_mismatch",
      /4000000001 blocks/,
    ],
    [
      "a tower that scales its layers",
      () => spoilTower((tensors) => tensors.set("blocks.0.ls1.gamma", tensor(64))),
      "weights_mismatch",
      /ls1\.gamma/,
    ],
  ])("%s", async (_, prepare, code, message) => {
    await prepare();
    const error = await errorOf(openCheckpoint(dir));
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
  });

  async function spoil(source: string, file: string, text: string): Promise<void> {
    await copyOf(source);
    await writeFile(join(dir, file), text);
  }

  async function drop(source: string, file: string): Promise<void> {
    await copyOf(source);
    await rm(join(dir, file));
  }

  async function spoilTower(change: (tensors: Map<string, StoredTensor>) => void): Promise<void> {
    await copyOf(QWEN);
    const tensors = await readTowerFile(join(dir, "oryx_vit.pth"));
    change(tensors);
    await writeSafetensors(join(dir, "oryx_vit.safetensors"), tensors);
    await rm(join(dir, "oryx_vit.pth"));
  }
});

describe("openCheckpoint leaves out", () => {
  it("a stored output layer when it is tied to the embedding, and old tables of frequencies", async () => {
    await copyOf(LLAMA);
    await edit("config.json", (json) => Object.assign(json, { tie_word_embeddings: true }));
    await editWeights("model.safetensors", (tensors) =>
      tensors.set("model.layers.0.self_attn.rotary_emb.inv_freq", {
        dtype: "f32",
        shape: [8],
        bytes: new Uint8Array(32),
      }),
    );
    const { language } = await openCheckpoint(dir);
    expect(language.has("lm_head.weight")).toBe(false);
    expect(language.size).toBe(32);
  });
});
