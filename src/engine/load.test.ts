import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../convert/convert.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { loadDecoder, storedParams } from "./load.ts";

let root: string;
let runtime: Runtime;
let converted: Checkpoint;
let published: Checkpoint;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-load-"));
  const options = { weights: "q4", vision: "f32", keep: [], block: 32 } as const;
  await convert("test/fixtures/oryx-qwen-tiny", join(root, "q4"), options);
  converted = await openCheckpoint(join(root, "q4"));
  published = await openCheckpoint("test/fixtures/oryx-llama-tiny");
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(async () => {
  await runtime.close();
  await rm(root, { recursive: true });
});

/** The same tensors, each in memory of its own. */
async function apart(tensors: ReadonlyMap<string, StoredTensor>): Promise<Map<string, StoredTensor>> {
  const copies = new Map<string, StoredTensor>();
  for (const [name, tensor] of tensors) {
    if (tensor.bytes instanceof Uint8Array) throw new Error("a checkpoint's tensors lie in files");
    const { path, offset, byteLength } = tensor.bytes;
    const bytes = (await readFile(path)).subarray(offset, offset + byteLength);
    copies.set(name, { ...tensor, bytes: Uint8Array.from(bytes) });
  }
  return copies;
}

async function logits(
  { config }: Checkpoint,
  language: ReadonlyMap<string, StoredTensor>,
): Promise<Float32Array> {
  const decoder = await loadDecoder(runtime, { config: config.language, language });
  try {
    return await decoder.withSlot(16, (slot) => decoder.prefill(slot, [{ ids: [5, 9, 200, 31, 7] }]));
  } finally {
    await decoder.close();
  }
}

describe("matrices over the same input", () => {
  const checkpoints = { converted: () => converted, published: () => published };
  it.each([
    ["converted", "int4"],
    ["published", "dense"],
  ] as const)("are one where a %s file has them one behind the other, as %s", (from, storage) => {
    const layer = storedParams(checkpoints[from]().language).at("model.layers.0");
    for (const [at, joined, parts] of [
      ["self_attn", "qkv_proj", ["q_proj", "k_proj", "v_proj"]],
      ["mlp", "gate_up_proj", ["gate_proj", "up_proj"]],
    ] as const) {
      const p = layer.at(at);
      const rows = parts.map((part) => p.at(part).rows("weight"));
      expect(p.at(joined).rows("weight")).toBe(rows.reduce((a, b) => a + b));
      expect(p.at(joined).matrix("weight").storage).toBe(storage);
    }
  });

  it.each(["converted", "published"] as const)(
    "give the same logits as one by one, to the bit, when %s",
    async (from) => {
      const checkpoint = checkpoints[from]();
      const single = await apart(checkpoint.language);
      expect(storedParams(single).at("model.layers.0.self_attn.qkv_proj").has("weight")).toBe(false);
      expect(await logits(checkpoint, checkpoint.language)).toEqual(await logits(checkpoint, single));
    },
  );

  it("are not one where other bytes lie between them, or where one is missing or of another width", async () => {
    const name = (part: string) => `model.layers.0.self_attn.${part}_proj.weight.int4`;
    const moved = (part: string, change: (tensor: StoredTensor) => StoredTensor | undefined) => {
      const tensors = new Map(converted.language);
      const changed = change(tensors.get(name(part)) as StoredTensor);
      if (changed) tensors.set(name(part), changed);
      else tensors.delete(name(part));
      return storedParams(tensors).at("model.layers.0.self_attn.qkv_proj").has("weight");
    };
    const range = ({ bytes }: StoredTensor) => bytes as Exclude<StoredTensor["bytes"], Uint8Array>;
    expect(moved("k", (t) => t)).toBe(true);
    expect(moved("k", (t) => ({ ...t, bytes: { ...range(t), offset: range(t).offset + 64 } }))).toBe(false);
    expect(moved("v", (t) => ({ ...t, bytes: { ...range(t), path: "elsewhere" } }))).toBe(false);
    expect(moved("v", (t) => ({ ...t, shape: [...t.shape.slice(0, 1), 1, 16] }))).toBe(false);
    expect(moved("v", () => undefined)).toBe(false);
  });
});
