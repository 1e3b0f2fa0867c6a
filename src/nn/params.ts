import { OryxError } from "../core/errors.ts";
import { cast, reshape } from "../graph/ops.ts";
import type { Tensor } from "../graph/tensor.ts";

/** How a matrix [out, in] is stored. `linear` and `embedding` emit what fits; model code never asks. */
export type Matrix =
  /** Floating point, [out, in]. */
  | { storage: "dense"; values: Tensor }
  /** 4 bits in blocks along a row: u8 [out, in / block, block / 2], low nibble first, zero at 8; f32 [out, in / block]. */
  | { storage: "int4"; packed: Tensor; scales: Tensor }
  /** i8 with a scale for each output: [in, out] (transposed, as the kernel wants it) and f32 [out]. */
  | { storage: "int8"; values: Tensor; scales: Tensor }
  /** A matrix with a correction of low rank that is being learnt: base + scale * up x down, [out, rank] x [rank, in]. */
  | { storage: "lora"; base: Matrix; down: Tensor; up: Tensor; scale: number };

/**
 * How a converted checkpoint names what a matrix `X.weight` [out, in] became: `X.weight.int4` beside
 * `X.weight.int4_scales`, and likewise int8. It may hold both; whoever loads it chooses.
 */
export const PARTS = {
  int4: { values: ".int4", scales: ".int4_scales" },
  int8: { values: ".int8", scales: ".int8_scales" },
} as const;

export type IntegerStorage = keyof typeof PARTS;

/**
 * Matrices over the same input, by the name that they have together: where their rows lie one behind the other, a source
 * may give them as one matrix of that name.
 */
export const JOINED: Readonly<Record<string, readonly string[]>> = {
  qkv_proj: ["q_proj", "k_proj", "v_proj"],
  gate_up_proj: ["gate_proj", "up_proj"],
};

/** What a parameter is wanted for, where it is stored in more than one way: products, or looking up rows. */
export type Use = "product" | "rows";

/** Gives the parameter of a full name, or undefined when there is none. */
export type ParameterSource = (name: string, use: Use) => Matrix | undefined;

/**
 * The parameters of a model, seen from one place in its tree of names. The names are the checkpoint's, so that
 * a state dict needs no renaming: `p.at("layers.3").at("self_attn")` is where `layers.3.self_attn.*` lies.
 */
export class Params {
  readonly #source: ParameterSource;
  readonly path: string;

  constructor(source: ParameterSource, path = "") {
    this.#source = source;
    this.path = path;
  }

  at(name: string): Params {
    return new Params(this.#source, this.#full(name));
  }

  has(name: string): boolean {
    return this.#source(this.#full(name), "product") !== undefined;
  }

  /** A matrix as it is stored for products. */
  matrix(name: string): Matrix {
    return this.#find(name, "product");
  }

  /** Outputs of a matrix [out, in]. */
  rows(name: string): number {
    return rowsOf(this.matrix(name));
  }

  /** A matrix as it is stored for looking up its rows. */
  table(name: string): Matrix {
    return this.#find(name, "rows");
  }

  #find(name: string, use: Use): Matrix {
    const found = this.#source(this.#full(name), use);
    if (found === undefined) {
      const full = this.#full(name);
      throw new OryxError("weights_missing", `the model has no tensor ${full}`, "check the model folder");
    }
    return found;
  }

  /** A parameter as f32, the type in which everything is computed. */
  tensor(name: string): Tensor {
    const found = this.matrix(name);
    if (found.storage === "dense") return cast(found.values, "f32");
    const problem = `${this.#full(name)} is stored as ${found.storage}, which only matrices may be`;
    throw new OryxError("weights_mismatch", problem, "convert the model again");
  }

  /** A vector as a matrix of one row, [1, width]. */
  row(name: string): Tensor {
    const t = this.tensor(name);
    return reshape(t, [1, ...t.shape]);
  }

  #full(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }
}

function rowsOf(matrix: Matrix): number {
  switch (matrix.storage) {
    case "dense":
      return matrix.values.dim(0) as number;
    case "int4":
      return matrix.packed.dim(0) as number;
    case "int8":
      return matrix.values.dim(1) as number;
    case "lora":
      return rowsOf(matrix.base);
  }
}
