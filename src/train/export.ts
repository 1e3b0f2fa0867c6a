import { randomBytes } from "node:crypto";
import { readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { OryxError, quote } from "../core/errors.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { ignoreMissing, makeFolder, onDisk, replaceFolder, writeSynced } from "../files/disk.ts";
import { toBfloat16 } from "../weights/floats.ts";
import { writeSafetensors } from "../weights/safetensors-write.ts";
import { asStored } from "../weights/stored.ts";

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
/** What an export writes; a folder that has anything else is not for it to replace. */
const OURS = [
  COPIED,
  /^config\.json$/,
  /^model(-\d{5}-of-\d{5})?\.safetensors$/,
  /^model\.safetensors\.index\.json$/,
];
/** Behind its name, a folder that is being written or replaced has twelve digits of chance. */
const LEFTOVER = /\.[0-9a-f]{12}\.(tmp|old)$/;
const SHARD_BYTES = 4_000_000_000;
const TORCH_NAMES = { bf16: "bfloat16", f32: "float32" } as const;
const ELEMENT_BYTES = { bf16: 2, f32: 4 } as const;

/**
 * Writes config, weights under their published names (the vision tower inside them) and tokenizer. The folder is
 * made under another name and then put in the place of an earlier export, so that no reader sees half a model.
 * @throws OryxError `disk`, also when the folder is there and holds anything but an export
 */
export async function exportModel(
  path: string,
  tensors: ExportTensors,
  options: ExportOptions,
): Promise<void> {
  const { configPath, tokenizerDir, type = "bf16" } = options;
  const dir = resolve(path); // without a slash at its end, behind which its neighbours would lie inside it
  const suffix = randomBytes(6).toString("hex");
  const temporary = `${dir}.${suffix}.tmp`;
  await onDisk(`write the model ${dir}`, async () => {
    await requireReplaceable(dir);
    try {
      await makeFolder(temporary);
      for (const name of (await readdir(tokenizerDir)).filter((n) => COPIED.test(n))) {
        const content = await readFile(join(tokenizerDir, name));
        await writeSynced(join(temporary, name), (file) => file.writeFile(content));
      }
      const config = trainedConfig(JSON.parse(await readFile(configPath, "utf8")), type);
      await writeJson(join(temporary, "config.json"), config);
      await writeWeights(temporary, tensors, type, options.shardBytes ?? SHARD_BYTES);
      await replaceFolder(dir, temporary, `${dir}.${suffix}.old`);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined); // the first error counts
      throw error;
    }
  });
}

/** Removes what killed exports have left beside a folder. None may be going on. */
export async function removeExportLeftovers(path: string): Promise<void> {
  const dir = resolve(path);
  const names = (await readdir(dirname(dir)).catch(ignoreMissing)) ?? [];
  for (const name of names.filter((name) => name.startsWith(`${basename(dir)}.`) && LEFTOVER.test(name))) {
    await rm(join(dirname(dir), name), { recursive: true, force: true });
  }
}

async function requireReplaceable(dir: string): Promise<void> {
  const strange = (await readdir(dir).catch(ignoreMissing))?.find((name) => !OURS.some((o) => o.test(name)));
  if (strange === undefined) return;
  const problem = `${dir} holds ${quote(strange)}, which no export has put there`;
  throw new OryxError("disk", problem, "name another folder, or move it away");
}

/** The tower is inside, and where it was before is of no use elsewhere. */
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
  await writeJson(join(dir, "model.safetensors.index.json"), index);
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

function writeJson(path: string, json: object): Promise<void> {
  return writeSynced(path, (file) => file.writeFile(`${JSON.stringify(json, undefined, 2)}\n`));
}
