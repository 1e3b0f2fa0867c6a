import { basename, isAbsolute, join } from "node:path";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { StoredTensor } from "../core/tensor.ts";
import type { VisionShape } from "../model/vit.ts";
import { expectedVisionTensors, expectTensors } from "./expected.ts";
import { isFile, withFile } from "./files.ts";
import { readSafetensorsFrom } from "./safetensors.ts";
import { readTorchFrom } from "./torch.ts";

/** How a checkpoint that holds the vision tower too names it. */
export const TOWER = "model.vision_tower.vision_tower";
const INSIDE = `${TOWER}.`;

/** Parts of SigLIP behind the last block, which the model does not use but published files have. */
const UNUSED = /^(norm|fc_norm|attn_pool|head)\./;

const TOWER_FILES = ["oryx_vit.pth", "oryx_vit.safetensors"];

export interface VisionTower {
  tensors: Map<string, StoredTensor>;
  shape: VisionShape;
}

/** Splits the tensors of a model folder into the vision tower's, with short names, and the rest. */
export function splitTower(tensors: ReadonlyMap<string, StoredTensor>) {
  const tower = new Map<string, StoredTensor>();
  const rest = new Map<string, StoredTensor>();
  for (const [name, tensor] of tensors) {
    if (name.startsWith(INSIDE)) tower.set(name.slice(INSIDE.length), tensor);
    else rest.set(name, tensor);
  }
  return { tower, rest };
}

/**
 * Finds the vision tower's own file: beside the config, then where the user says (a file, or a folder that has
 * one), then where the config's author had it.
 * @throws OryxError `weights_missing`
 */
export async function findTower(
  dir: string,
  given: string | undefined,
  authors: string | null,
): Promise<string> {
  const places = TOWER_FILES.map((file) => join(dir, file));
  if (authors) places.splice(0, 0, join(dir, basename(authors.replaceAll("\\", "/"))));
  if (given) places.push(given, ...TOWER_FILES.map((file) => join(given, file)));
  // A config is a stranger's: on Windows, only opening a network path would already send credentials.
  if (authors && isAbsolute(authors) && !/^[\\/]{2}/.test(authors)) places.push(authors);
  for (const path of places) if (await isFile(path)) return path;
  const searched = [...new Set(places)].join(", ");
  throw new OryxError(
    "weights_missing",
    `the vision tower is neither in the weights of ${dir} nor in any of ${searched}`,
    "put oryx_vit.pth beside config.json, or say where it is with --vision-tower (visionTower)",
  );
}

/** Reads a vision tower's file of either kind, told apart by its first bytes. */
export async function readTowerFile(path: string): Promise<Map<string, StoredTensor>> {
  const tensors = await withFile(path, async (source) => {
    const first = await source.read(0, Math.min(2, source.size));
    // A safetensors file begins with its header's length; 0x80 begins a bare pickle, of which readTorchFrom complains.
    const isTorch = (first[0] === 0x50 && first[1] === 0x4b) || /\.(pth|pt|bin)$/.test(path);
    return isTorch ? readTorchFrom(source) : readSafetensorsFrom(source);
  });
  const { tower, rest } = splitTower(tensors);
  return tower.size > 0 ? tower : rest;
}

/**
 * Checks a vision tower's tensors and derives from their shapes what no config says.
 * @param hiddenSize width that the config promises
 * @throws OryxError `weights_missing`, `weights_mismatch`
 */
export function checkTower(
  tensors: ReadonlyMap<string, StoredTensor>,
  hiddenSize: number,
  heads: number,
): VisionTower {
  const positions = tensors.get("pos_embed")?.shape[1] || 1;
  const grid = Math.round(Math.sqrt(positions));
  if (grid * grid !== positions) {
    throw mismatch(`its position table has ${positions} places, which is no square`);
  }
  // A size of 0 is taken for 1, so that the tensor is reported as misshapen.
  const mlpWidth = tensors.get("blocks.0.mlp.fc1.weight")?.shape[0] || 1;
  const shape: VisionShape = {
    width: hiddenSize,
    blocks: countBlocks(tensors.keys()),
    heads,
    mlpWidth,
    grid,
  };
  const unused = (name: string) => UNUSED.test(name);
  return { tensors: expectTensors(expectedVisionTensors(shape), tensors, "vision tower", unused), shape };
}

/** One more than the highest block's number; at least 1, so that a file without any is told what it lacks. */
function countBlocks(names: Iterable<string>): number {
  let blocks = 1;
  for (const name of names) {
    const number = /^blocks\.([0-9]+)\./.exec(name)?.[1];
    if (number !== undefined) blocks = Math.max(blocks, Number(number) + 1);
  }
  if (blocks > LIMITS.modelLayers) throw mismatch(`it claims ${blocks} blocks`);
  return blocks;
}

function mismatch(problem: string): OryxError {
  return new OryxError(
    "weights_mismatch",
    `vision tower: ${problem}`,
    "use the tower that the model came with",
  );
}
