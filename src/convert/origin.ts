import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { Manifest } from "../weights/converted.ts";
import { ROUNDING_VERSION } from "../weights/quantise.ts";
import type { Plan, StorageOptions } from "./plan.ts";

/** What is copied as it is: settings and tokenizer. */
const COPIED = /^(config|generation_config|tokenizer[\w.-]*)\.json$/;

/** A file of the source that is copied. */
export interface CopiedFile {
  name: string;
  path: string;
  bytes: number;
}

/** @throws OryxError `tokenizer_invalid` when one is larger than any such file */
export async function filesToCopy(dir: string): Promise<CopiedFile[]> {
  const copies: CopiedFile[] = [];
  for (const name of (await readdir(dir)).filter((name) => COPIED.test(name)).sort()) {
    const path = join(dir, name);
    const found = await stat(path);
    if (!found.isFile()) continue;
    if (found.size > LIMITS.tokenizerBytes) {
      const problem = `${path} has ${found.size} bytes, more than the ${LIMITS.tokenizerBytes} allowed`;
      throw new OryxError("tokenizer_invalid", problem, "download the file again");
    }
    copies.push({ name, path, bytes: found.size });
  }
  return copies;
}

/**
 * Where a model came from: ORG/NAME and commit when its folder lies in the hub's cache, else the folder's name. The
 * folder's place is nobody's business but this machine's.
 */
export function sourceOf(dir: string): Manifest["source"] {
  const [, org, name, commit] =
    /models--([^/\\]+)--([^/\\]+)[/\\]snapshots[/\\]([0-9a-f]{40})[/\\]?$/.exec(dir) ?? [];
  return commit === undefined ? { name: basename(dir) } : { name: `${org}/${name}`, commit };
}

/**
 * Tells whether a conversion that was begun may go on: the same source files (by name, size and time), the same
 * tensors in them, the same options, the same rounding, the same places for what comes out.
 */
export async function fingerprint(
  { language, vision, files }: Checkpoint,
  copies: readonly CopiedFile[],
  plan: Plan,
  { weights, vision: tower, keep }: StorageOptions,
): Promise<string> {
  const paths = [...files, ...copies.map(({ path }) => path)];
  const stats = await Promise.all(paths.map((path) => stat(path)));
  const facts = {
    options: [weights, tower, keep, plan.block],
    rounding: ROUNDING_VERSION,
    files: stats.map(({ size, mtimeMs }, i) => [basename(paths[i] as string), size, mtimeMs]),
    tensors: [...language, ...vision].map(([name, { dtype, shape, bytes }]) => [
      name,
      dtype,
      shape,
      bytes instanceof Uint8Array ? 0 : bytes.offset,
    ]),
    layout: plan.files.map(({ name, header }) => [name, createHash("sha256").update(header).digest("hex")]),
  };
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex");
}
