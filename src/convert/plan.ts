import type { DType } from "../core/dtype.ts";
import { OryxError, quote } from "../core/errors.ts";
import { elementCount, type StoredTensor } from "../core/tensor.ts";
import { type IntegerStorage, PARTS } from "../nn/params.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { CONVERTED_FILES, type VisionMode, type WeightMode } from "../weights/converted.ts";
import {
  blockOf,
  EMBEDDING,
  HEAD,
  type IntegerForm,
  integerForms,
  isLanguageMatrix,
  languageStorages,
  neighbours,
  visionStorages,
} from "../weights/forms.ts";
import { INT4_BLOCKS, type Int4Block } from "../weights/quantise.ts";
import { partShapes } from "../weights/quantised.ts";
import { type FileLayout, layoutFile, type Place, type Wanted } from "./layout.ts";

/** How weights are to be stored. */
export interface StorageOptions {
  /**
   * Matrices of the language model: `q4` int4; `w8` int8, with the embedding as it is; `auto` both for the layers (prefill
   * is faster in int8, decode in int4), int4 for embedding and head; `f16`, `f32` floating point.
   */
  weights: WeightMode;
  /** Matrices of the vision tower's blocks: `w8` int8; `f32` as the source has them, since bf16 to f32 is exact at any time. */
  vision: VisionMode;
  /** Names of matrices that stay as they are; `*` stands for anything, `?` for one character. */
  keep: readonly string[];
  /** Weights of a scale in int4, at most; only where there is int4. Default 32: larger is smaller, faster, less exact. */
  block?: Int4Block | undefined;
}

/** Where one tensor of the source goes; every storage in which it is wanted is made in one reading. */
export interface Job {
  /** Name of the matrix in the converted folder. */
  name: string;
  source: StoredTensor;
  dense?: Place;
  int4?: { values: Place; scales: Place };
  int8?: { values: Place; scales: Place };
}

export interface Plan {
  jobs: Job[];
  files: FileLayout[];
  /** Weights of a scale in int4, where the columns are a multiple of it. */
  block: Int4Block;
  /** What was decided otherwise than asked, one sentence each. */
  notes: string[];
}

/** A transposed matrix is put together in memory, so it must fit there. */
const INT8_ELEMENTS = 2 ** 31;

/** What a tensor becomes, before it is known where that lies. */
interface Choice {
  name: string;
  source: StoredTensor;
  part: "language" | "vision";
  dense?: DType;
  integers: readonly IntegerForm[];
}

/**
 * Decides what becomes of every tensor and where it will lie. Pure: nothing is read or written.
 * @throws OryxError `bad_option` when a pattern to keep matches no matrix, or for a block where nothing is int4
 */
export function planConversion(checkpoint: Checkpoint, options: StorageOptions): Plan {
  const notes: string[] = [];
  const block = blockOf(options.weights, options.block);
  const choices = chooseAll(checkpoint, { ...options, block }, notes);
  const wanted = new Map<string, Wanted[]>();
  for (const choice of choices) {
    for (const { file, ...tensor } of wantedOf(choice)) {
      const inFile = wanted.get(file);
      if (inFile) inFile.push(tensor);
      else wanted.set(file, [tensor]);
    }
  }
  const files = [...wanted].map(([name, tensors]) => layoutFile(name, neighbours(tensors)));
  const places = new Map(files.flatMap(({ places }) => places.map((place) => [place.name, place] as const)));
  const at = (name: string) => places.get(name) as Place;
  const jobs = choices.map(({ name, source, dense, integers }): Job => {
    const job: Job = { name, source };
    if (dense) job.dense = at(name);
    for (const { storage } of integers) {
      const { values, scales } = PARTS[storage];
      job[storage] = { values: at(name + values), scales: at(name + scales) };
    }
    return job;
  });
  return { jobs, files, block, notes };
}

function chooseAll(
  checkpoint: Checkpoint,
  options: StorageOptions & { block: Int4Block },
  notes: string[],
): Choice[] {
  const { weights, vision, block } = options;
  const { tiedEmbeddings } = checkpoint.config.language;
  const isKept = keeper(options.keep);
  const choices: Choice[] = [];
  const choose = (
    part: Choice["part"],
    name: string,
    source: StoredTensor,
    asked: readonly IntegerStorage[],
  ) => {
    const integers = isKept(name, source) ? [] : fitting(name, source, asked, block, notes);
    choices.push({ name, source, part, integers, ...(integers.length === 0 ? { dense: source.dtype } : {}) });
  };
  for (const [name, source] of checkpoint.language) {
    if (weights === "f16" || weights === "f32") {
      const dense = isLanguageMatrix(name) && !isKept(name, source) ? weights : source.dtype;
      choices.push({ name, source, part: "language", dense, integers: [] });
    } else choose("language", name, source, languageStorages(name, weights));
  }
  const table = checkpoint.language.get(EMBEDDING);
  if (weights === "w8" && tiedEmbeddings && table && !isKept(HEAD, table)) {
    const integers = fitting(HEAD, table, ["int8"], block, notes);
    if (integers.length > 0) choices.push({ name: HEAD, source: table, part: "language", integers });
  }
  for (const [name, source] of checkpoint.vision) {
    choose("vision", name, source, vision === "w8" ? visionStorages(name) : []);
  }
  isKept.requireUse();
  return choices;
}

/** The forms in which a matrix can be had; where it cannot have the one asked for, the next best, and a note. */
function fitting(
  name: string,
  source: StoredTensor,
  asked: readonly IntegerStorage[],
  block: Int4Block,
  notes: string[],
): IntegerForm[] {
  const columns = source.shape[1] as number;
  const forms = integerForms(name, columns, asked, block);
  const int4 = forms.find((form) => form.storage === "int4");
  if (asked.includes("int4") && int4?.block !== block) {
    const otherwise = name === EMBEDDING ? `stays ${source.dtype}` : "is int8";
    const instead = int4 ? `has blocks of ${int4.block}` : otherwise;
    const divisor = int4 ? block : INT4_BLOCKS[0];
    notes.push(`${name} ${instead}: its ${columns} columns are no multiple of ${divisor}`);
  }
  const isTooLarge = elementCount(source.shape) > INT8_ELEMENTS;
  if (!isTooLarge || !forms.some(({ storage }) => storage === "int8")) return forms;
  notes.push(`${name} is not stored as int8: it is too large`);
  return forms.filter(({ storage }) => storage !== "int8");
}

/** The tensors of a choice, and the file that each belongs to. */
function wantedOf({ name, source, part, dense, integers }: Choice): (Wanted & { file: string })[] {
  const file = (storage: keyof typeof CONVERTED_FILES) =>
    CONVERTED_FILES[part === "vision" ? "vision" : storage];
  const wanted: (Wanted & { file: string })[] = [];
  if (dense) wanted.push({ name, dtype: dense, shape: source.shape, file: file("dense") });
  for (const form of integers) {
    const { storage } = form;
    const [rows, columns] = source.shape as [number, number];
    const shapes = partShapes(form, rows, columns);
    const dtype = storage === "int4" ? "u8" : "i8";
    wanted.push({ name: name + PARTS[storage].values, dtype, shape: shapes.values, file: file(storage) });
    wanted.push({
      name: name + PARTS[storage].scales,
      dtype: "f32",
      shape: shapes.scales,
      file: file(storage),
    });
  }
  return wanted;
}

/** Tells which matrices the patterns keep; `requireUse` complains of a pattern that has kept none. */
function keeper(patterns: readonly string[]) {
  const unused = new Set(patterns);
  const tests = patterns.map((pattern) => ({ pattern, test: globTest(pattern) }));
  const isKept = (name: string, { shape }: StoredTensor): boolean => {
    if (shape.length !== 2) return false;
    const keeping = tests.filter(({ test }) => test.test(name));
    for (const { pattern } of keeping) unused.delete(pattern);
    return keeping.length > 0;
  };
  const requireUse = () => {
    const [pattern] = unused;
    if (pattern === undefined) return;
    const remedy = 'patterns are matched with whole names: "model.layers.0.*", "*down_proj.weight"';
    throw new OryxError("bad_option", `no matrix is called ${quote(pattern)}`, remedy);
  };
  return Object.assign(isKept, { requireUse });
}

function globTest(pattern: string): RegExp {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\*+/g, ".*").replaceAll("?", ".")}$`);
}
