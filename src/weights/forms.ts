import { OryxError } from "../core/errors.ts";
import { type IntegerStorage, JOINED } from "../nn/params.ts";
import { INT4_BLOCK, INT4_BLOCKS, type Int4Block } from "./quantise.ts";

/** Which matrices are stored as integers, and as which: the rule that conversions and benchmarks follow. */

/** How one matrix is stored as integers. */
export type IntegerForm = { storage: "int4"; block: Int4Block } | { storage: "int8" };

/** The weight modes in which there are integers. */
export type IntegerMode = "q4" | "w8" | "auto";

export const EMBEDDING = "model.embed_tokens.weight";
export const HEAD = "lm_head.weight";

const LINEAR = /^model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)\.weight$/;
const BLOCK_LINEAR = /^blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc[12])\.weight$/;

/** Whether a tensor is a matrix of the language model that is worth storing otherwise than it was published. */
export function isLanguageMatrix(name: string): boolean {
  return LINEAR.test(name) || name === EMBEDDING || name === HEAD;
}

/** The storages of a matrix of the language model; none: it stays in floating point. */
export function languageStorages(name: string, mode: IntegerMode): readonly IntegerStorage[] {
  if (LINEAR.test(name)) return ({ q4: ["int4"], w8: ["int8"], auto: ["int4", "int8"] } as const)[mode];
  if (name === HEAD) return [mode === "w8" ? "int8" : "int4"];
  // Rows of an int8 table would lie across its memory, so there the embedding stays as it is.
  return name === EMBEDDING && mode !== "w8" ? ["int4"] : [];
}

/** The storages of a matrix of the vision tower. */
export function visionStorages(name: string): readonly IntegerStorage[] {
  return BLOCK_LINEAR.test(name) ? ["int8"] : [];
}

/**
 * The forms in which a matrix can have its storages: int4 in the largest block up to the one asked for that divides its
 * columns; where none does, int8 instead, or for the embedding nothing.
 */
export function integerForms(
  name: string,
  columns: number,
  storages: readonly IntegerStorage[],
  block: Int4Block,
): IntegerForm[] {
  const fits = INT4_BLOCKS.findLast((size) => size <= block && columns % size === 0);
  const forms: IntegerForm[] = [];
  if (storages.includes("int4") && fits !== undefined) forms.push({ storage: "int4", block: fits });
  const isInstead = storages.includes("int4") && fits === undefined && name !== EMBEDDING;
  if (storages.includes("int8") || isInstead) forms.push({ storage: "int8" });
  return forms;
}

/**
 * The order in which tensors are stored: those of matrices that may be one ({@link JOINED}) one behind the other, each
 * such row of them in the place of its first.
 */
export function neighbours<T extends { name: string }>(tensors: readonly T[]): T[] {
  const groups = new Map<string, { tensor: T; rank: number }[]>();
  for (const tensor of tensors) {
    const [, before = "", own = "", after = ""] = INT4_PART.exec(tensor.name) ?? [];
    const [joined, parts] = Object.entries(JOINED).find(([, parts]) => parts.includes(own)) ?? [];
    const key = joined === undefined ? tensor.name : before + joined + after;
    const group = groups.get(key) ?? [];
    group.push({ tensor, rank: parts?.indexOf(own) ?? 0 });
    groups.set(key, group);
  }
  return [...groups.values()].flatMap((group) =>
    group.sort((a, b) => a.rank - b.rank).map(({ tensor }) => tensor),
  );
}

const INT4_PART = /^(.*\.)([a-z]+_proj)(\.weight\.int4(?:_scales)?)$/;

/** Whether anything is stored as int4 in a mode. */
export function hasInt4(weights: string): boolean {
  return weights === "q4" || weights === "auto";
}

/** The block that was asked for, or the usual one. @throws OryxError `bad_option` when there is no such block, or no int4 */
export function blockOf(weights: string, asked: Int4Block | undefined): Int4Block {
  if (asked === undefined) return INT4_BLOCK;
  if (!INT4_BLOCKS.includes(asked)) {
    throw new OryxError("bad_option", `there are no blocks of ${asked}`, `choose ${INT4_BLOCKS.join(", ")}`);
  }
  if (hasInt4(weights)) return asked;
  const problem = `blocks are of 4-bit weights, and ${weights} has none`;
  throw new OryxError("bad_option", problem, "leave --block out, or choose --weights q4 or auto");
}
