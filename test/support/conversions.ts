import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { type ConvertOptions, convert } from "../../src/convert/convert.ts";
import { OryxError } from "../../src/core/errors.ts";

export const QWEN = "test/fixtures/oryx-qwen-tiny";
export const LAYER = "model.layers.1";
export const Q4: ConvertOptions = { weights: "q4", vision: "w8", keep: [] };

/** Folders for the conversions of a test file, which are gone after it. */
export function conversions() {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "oryx-convert-"));
  });
  afterAll(() => rm(root, { recursive: true }));
  let folders = 0;
  const fresh = () => join(root, `out-${folders++}`);
  const converted = async (src: string, options: Partial<ConvertOptions> = {}) => {
    const out = fresh();
    return { out, ...(await convert(src, out, { ...Q4, ...options })) };
  };
  return { fresh, converted, names: () => readdir(root) };
}

export async function errorOf(work: Promise<unknown>): Promise<OryxError> {
  const error = await work.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(OryxError);
  return error;
}

/** What all files of a folder hash to. */
export async function digestOf(dir: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(dir)).sort()) hash.update(name).update(await readFile(join(dir, name)));
  return hash.digest("hex");
}
