import { createHash } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { OryxError, quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { FileRange, StoredTensor } from "../core/tensor.ts";
import { hashInto } from "../files/hash.ts";
import { malformed, unsupported } from "./faults.ts";
import { isFile, readJsonObject } from "./files.ts";
import { INT4_BLOCK, INT4_BLOCKS } from "./quantise.ts";
import { readSafetensors } from "./safetensors.ts";
import { storedBytes } from "./stored.ts";

/**
 * A converted model folder: `config.json` and the tokenizer as published, the tensors in up to four safetensors
 * files by what they hold, and `oryx-format.json`, which says what the folder was made from and what must be in it.
 */
export const FORMAT_VERSION = 1;
export const MANIFEST_FILE = "oryx-format.json";

/** Weight files of a converted folder; those that would be empty are left out. */
export const CONVERTED_FILES = {
  dense: "dense.safetensors",
  int4: "int4.safetensors",
  int8: "int8.safetensors",
  vision: "vision.safetensors",
} as const;

export const WEIGHT_MODES = ["auto", "q4", "w8", "f16", "f32"] as const;
export type WeightMode = (typeof WEIGHT_MODES)[number];
export const VISION_MODES = ["w8", "f32"] as const;
export type VisionMode = (typeof VISION_MODES)[number];

const FILE_NAME = /^[\w-][\w.-]*$/;
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const bytes = z.int().nonnegative();

const MANIFEST = z.strictObject({
  format: z.literal(FORMAT_VERSION),
  /** Name of the folder, or ORG/NAME and the commit when it came from the hub. */
  source: z.strictObject({ name: z.string().max(1000), commit: z.string().max(100).optional() }),
  weights: z.enum(WEIGHT_MODES),
  vision: z.enum(VISION_MODES),
  keep: z.array(z.string().max(1000)).max(1000),
  /** Weights of a scale in int4 matrices, if there are any; those whose columns it does not divide have smaller ones. */
  block: z.literal(INT4_BLOCKS).default(INT4_BLOCK),
  tensors: z.record(
    z.string(),
    z.strictObject({
      storage: z.enum(["dense", "int4", "int8"]),
      bytes,
      sha256,
      /** Norm of what rounding lost over the norm of the matrix; with the integers, not with their scales. */
      error: z.number().nonnegative().optional(),
    }),
  ),
  /** What else is in the folder: weight files, whose tensors are hashed above, and copies, which are hashed here. */
  files: z
    .array(z.strictObject({ name: z.string().regex(FILE_NAME), bytes, sha256: sha256.optional() }))
    .max(100),
});

export type Manifest = z.infer<typeof MANIFEST>;

const MANIFEST_JSON = { maxValues: 30 * LIMITS.tensorsPerFile, maxTextBytes: LIMITS.jsonTextBytes };

/** Whether a model folder was made by `convert`. */
export function isConverted(dir: string): Promise<boolean> {
  return isFile(join(dir, MANIFEST_FILE));
}

/** @throws OryxError `weights_unsupported` for a format of another version, `weights_malformed` */
export async function readManifest(dir: string): Promise<Manifest> {
  const path = join(dir, MANIFEST_FILE);
  const json = await readJsonObject(path, LIMITS.jsonTextBytes, "weights_malformed", MANIFEST_JSON);
  if (json.format !== FORMAT_VERSION) {
    const found = typeof json.format === "number" ? `${json.format}` : "none";
    throw unsupported(
      path,
      `format version ${found}, not ${FORMAT_VERSION}`,
      "convert the model again with this version",
    );
  }
  const parsed = MANIFEST.safeParse(json);
  if (parsed.success) return parsed.data;
  throw malformed(path, z.prettifyError(parsed.error).replaceAll("\n", " ").slice(0, 300), parsed.error);
}

/** The tensors of a converted folder, where they lie. */
export interface ConvertedTensors {
  manifest: Manifest;
  language: Map<string, StoredTensor>;
  vision: Map<string, StoredTensor>;
  files: string[];
}

/**
 * Reads a converted folder's headers, which must hold just what its manifest lists.
 * @throws OryxError `weights_malformed`, `weights_unsupported`, `weights_missing` when a file is not there
 */
export async function readConverted(dir: string): Promise<ConvertedTensors> {
  const manifest = await readManifest(dir);
  const found = { language: new Map<string, StoredTensor>(), vision: new Map<string, StoredTensor>() };
  const files: string[] = [];
  const listed = new Set(Object.keys(manifest.tensors));
  for (const name of Object.values(CONVERTED_FILES)) {
    const file = manifest.files.find((file) => file.name === name);
    if (file === undefined) continue;
    const path = join(dir, name);
    await requireFile(path);
    files.push(path);
    const into = name === CONVERTED_FILES.vision ? found.vision : found.language;
    for (const [tensor, stored] of await readSafetensors(path)) {
      const entry = listed.delete(tensor) ? manifest.tensors[tensor] : undefined;
      if (entry?.bytes !== storedBytes(stored)) {
        throw malformed(path, `tensor ${quote(tensor)} is not the one that ${MANIFEST_FILE} lists`);
      }
      into.set(tensor, stored);
    }
  }
  const [absent] = listed;
  if (absent !== undefined) throw malformed(dir, `tensor ${quote(absent)} is listed but in no file`);
  return { manifest, ...found, files };
}

export interface VerifyOptions {
  signal?: AbortSignal | undefined;
  onProgress?: (bytesDone: number, bytesTotal: number) => void;
}

/**
 * Hashes everything in a converted folder again.
 * @throws OryxError `weights_malformed` naming the first tensor or file that is not as it was written, and as
 *   {@link readConverted}; `disk`, `aborted`
 */
export async function verifyConverted(dir: string, options: VerifyOptions = {}): Promise<Manifest> {
  const { manifest, language, vision } = await readConverted(dir);
  const tensors = [...language, ...vision];
  const total = tensors.reduce((sum, [, tensor]) => sum + storedBytes(tensor), 0);
  let done = 0;
  for (const { name, bytes, sha256 } of manifest.files) {
    if (sha256 === undefined) continue;
    const path = join(dir, name);
    await requireFile(path);
    const hash = await hashFile(path, bytes, options.signal);
    if (hash !== sha256) throw malformed(path, "not the file that was converted");
  }
  for (const [name, { bytes }] of tensors) {
    const hash = await hashRange(bytes as FileRange, options.signal);
    if (hash !== manifest.tensors[name]?.sha256) {
      throw malformed((bytes as FileRange).path, `tensor ${quote(name)} is damaged: its hash is another`);
    }
    done += bytes.byteLength;
    options.onProgress?.(done, total);
  }
  return manifest;
}

/** SHA-256 of a whole file, or undefined when it is not of this size. @throws OryxError `disk`, `aborted` */
export async function hashFile(
  path: string,
  bytes: number,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const hash = createHash("sha256");
  const found = await hashInto(hash, path, signal, [{ offset: 0, byteLength: bytes + 1 }]); // one more would show
  return found === bytes ? hash.digest("hex") : undefined;
}

/** SHA-256 of a range of a file. @throws OryxError `weights_malformed` beyond the file's end, `disk`, `aborted` */
export async function hashRange(range: FileRange, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  const found = await hashInto(hash, range.path, signal, [range]);
  if (found < range.byteLength) throw malformed(range.path, "the file has become shorter");
  return hash.digest("hex");
}

async function requireFile(path: string): Promise<void> {
  if (await isFile(path)) return;
  throw new OryxError(
    "weights_missing",
    `there is no ${path}`,
    "copy the whole folder, or convert the model again",
  );
}
