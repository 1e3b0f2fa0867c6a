import { randomBytes } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { StoredTensor } from "../core/tensor.ts";
import { toBfloat16 } from "../weights/floats.ts";
import { writeSafetensors } from "../weights/safetensors-write.ts";
import { asStored } from "../weights/stored.ts";
import { onDisk, syncFolder } from "./disk.ts";

/** A trained model as a folder in the published layout: any program that reads published Oryx models reads it. */

export type ExportType = "bf16" | "f32";

/** A tensor to write, as f32. */
export interface ExportTensor {
  shape: readonly number[];
  data: Float32Array;
}

/** Tensors by published name. */
export type ExportTensors =
  | Iterable<readonly [string, ExportTensor]>
  | AsyncIterable<readonly [string, ExportTensor]>;

export interface ExportOptions {
  /** Its config.json; what says that its weights are random, or of another type, is mended. */
  configPath: string;
  /** Folder whose tokenizer files and generation_config.json are copied. */
  tokenizerDir: string;
  /** Default "bf16", as published models are. */
  type?: ExportType | undefined;
  /** Bytes of one weight file, at most (one tensor may be larger); default 4 GB. */
  shardBytes?: number | undefined;
}

const COPIED = /^(generation_config|tokenizer[\w.-]*)\.json$/;
const SHARD_BYTES = 4_000_000_000;
const TORCH_NAMES = { bf16: "bfloat16", f32: "float32" } as const;
const ELEMENT_BYTES = { bf16: 2, f32: 4 } as const;

/**
 * Writes config, weights under their published names (the vision tower inside them) and tokenizer. The folder is
 * made under another name and then put in the place of the one before, so nobody sees half a model.
 * @throws OryxError `disk`
 */
export async function exportModel(
  dir: string,
  tensors: ExportTensors,
  options: ExportOptions,
): Promise<void> {
  const { configPath, tokenizerDir, type = "bf16" } = options;
  const suffix = randomBytes(6).toString("hex");
  const temporary = `${dir}.${suffix}.tmp`;
  await onDisk(`write the model ${dir}`, async () => {
    try {
      await mkdir(temporary, { recursive: true });
      for (const name of await readdir(tokenizerDir)) {
        if (COPIED.test(name)) await copyFile(join(tokenizerDir, name), join(temporary, name));
      }
      const config = trainedConfig(JSON.parse(await readFile(configPath, "utf8")), type);
      await writeFile(join(temporary, "config.json"), `${JSON.stringify(config, undefined, 2)}\n`);
      await writeWeights(temporary, tensors, type, options.shardBytes ?? SHARD_BYTES);
      await syncFolder(temporary);
      await replaceFolder(dir, temporary, `${dir}.${suffix}.old`);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined); // the first error counts
      throw error;
    }
  });
}

/** The tower is inside, and where its author had it is nobody's business. */
function trainedConfig(config: Record<string, unknown>, type: ExportType): Record<string, unknown> {
  const { random_weights: _, mm_vision_tower: __, torch_dtype: ___, ...rest } = config;
  return { ...rest, torch_dtype: TORCH_NAMES[type] };
}

/** One file, or with more bytes than it may have several with an index; one file's tensors are in memory at a time. */
async function writeWeights(
  dir: string,
  tensors: ExportTensors,
  type: ExportType,
  shardBytes: number,
): Promise<void> {
  const shards: string[][] = [];
  let shard = new Map<string, StoredTensor>();
  let [filled, total] = [0, 0];
  const close = async () => {
    await writeSafetensors(join(dir, `shard-${shards.length}`), shard, { format: "pt" });
    shards.push([...shard.keys()]);
    [shard, filled] = [new Map(), 0];
  };
  for await (const [name, tensor] of tensors) {
    const bytes = tensor.data.length * ELEMENT_BYTES[type];
    if (shard.size > 0 && filled + bytes > shardBytes) await close();
    shard.set(name, storedAs(type, tensor));
    filled += bytes;
    total += bytes;
  }
  await close();
  const fileOf = (i: number) => shardName(i, shards.length);
  for (const i of shards.keys()) await rename(join(dir, `shard-${i}`), join(dir, fileOf(i)));
  if (shards.length === 1) return;
  const places = shards.flatMap((names, i) => names.map((name) => [name, fileOf(i)] as const));
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(places) };
  await writeFile(join(dir, "model.safetensors.index.json"), `${JSON.stringify(index, undefined, 2)}\n`);
}

function storedAs(type: ExportType, { shape, data }: ExportTensor): StoredTensor {
  return asStored(
    type === "f32" ? { dtype: "f32", shape, data } : { dtype: "bf16", shape, data: toBfloat16(data) },
  );
}

function shardName(i: number, of: number): string {
  const padded = (n: number) => String(n).padStart(5, "0");
  return of === 1 ? "model.safetensors" : `model-${padded(i + 1)}-of-${padded(of)}.safetensors`;
}

async function replaceFolder(dir: string, by: string, aside: string): Promise<void> {
  await rename(dir, aside).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  await rename(by, dir);
  await rm(aside, { recursive: true, force: true });
}
