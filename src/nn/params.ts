import { OryxError } from "../core/errors.ts";
import { cast, reshape } from "../graph/ops.ts";
import type { Tensor } from "../graph/tensor.ts";

/** How a matrix [out, in] is stored. `linear` emits what fits; model code never asks. */
export interface Matrix {
  storage: "dense";
  values: Tensor;
}

/** Gives the parameter of a full name, or undefined when there is none. */
export type ParameterSource = (name: string) => Matrix | undefined;

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
    return this.#source(this.#full(name)) !== undefined;
  }

  /** A parameter as it is stored. */
  matrix(name: string): Matrix {
    const found = this.#source(this.#full(name));
    if (found === undefined) {
      const full = this.#full(name);
      throw new OryxError("weights_missing", `the model has no tensor ${full}`, "check the model folder");
    }
    return found;
  }

  /** A parameter as f32, the type in which everything is computed. */
  tensor(name: string): Tensor {
    return cast(this.matrix(name).values, "f32");
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
