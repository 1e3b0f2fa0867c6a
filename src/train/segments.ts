import { symbol, times } from "../graph/dim.ts";
import { gradients, type Seed } from "../graph/gradient.ts";
import { add, div, mul, reshape, scalar } from "../graph/ops.ts";
import { type Graph, input, type Tensor } from "../graph/tensor.ts";
import { attentionWithin, languageModel, logitsAt } from "../model/language.ts";
import { connect } from "../model/oryx.ts";
import { oryxViT, PATCH } from "../model/vit.ts";
import { CAUSAL_BLOCKS } from "../nn/attention.ts";
import { embedding } from "../nn/layers.ts";
import { Params } from "../nn/params.ts";
import { TOWER } from "../weights/tower.ts";
import { factorNames } from "./lora.ts";
import { crossEntropy } from "./loss.ts";
import type { Parameters } from "./parameters.ts";

/**
 * The model as a chain of links, each a graph over parameters that are its inputs: pixels -> tower -> features ->
 * connector -> rows and marks -> language model -> loss. A link's forward graph gives what the next one needs; its
 * backward graph computes it once more on the way to the gradients, so that between links only their borders are
 * kept.
 */

/** Name of the output that holds the gradient of an input or a parameter. */
export const gradientOf = (name: string): string => `gradient of ${name}`;

/** What a backward graph tells. */
export interface BackwardOptions {
  /** Whether gradients of the link's own input are wanted, because something before it is trained. */
  inputs: boolean;
  /** Layers of the language model that are passed; default: all. */
  layers?: number | undefined;
}

/** The parameters as inputs of one graph, and which of those that are trained the graph has asked for. */
class ParameterInputs {
  readonly params: Params;
  readonly #inputs = new Map<string, Tensor>();
  readonly #parameters: Parameters;

  constructor(parameters: Parameters) {
    this.#parameters = parameters;
    this.params = new Params((name) => {
      if (!parameters.has(name)) return undefined;
      const dense = { storage: "dense", values: this.#input(name) } as const;
      const { lora } = parameters;
      const { down, up } = factorNames(name);
      if (lora === undefined || !parameters.has(down)) return dense;
      const scale = lora.alpha / lora.rank;
      return { storage: "lora", base: dense, down: this.#input(down), up: this.#input(up), scale };
    });
  }

  /** Outputs for the gradients of trained parameters, and of further tensors by name. */
  gradients(seeds: readonly Seed[], others: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
    const trained = [...this.#inputs].filter(([name]) => this.#parameters.trained.has(name));
    const wanted = [...trained, ...Object.entries(others)];
    const found = gradients(
      seeds,
      wanted.map(([, t]) => t),
    );
    return Object.fromEntries(wanted.map(([name], i) => [gradientOf(name), found[i] as Tensor]));
  }

  #input(name: string): Tensor {
    let t = this.#inputs.get(name);
    if (t === undefined) {
      t = input(name, "f32", this.#parameters.tensor(name).shape);
      this.#inputs.set(name, t);
    }
    return t;
  }
}

/** The gradient of a tensor, which the caller feeds. */
function upstream(name: string, of: Tensor): Seed {
  return { of, upstream: input(gradientOf(name), of.dtype, of.shape) };
}

function tower(parameters: Parameters) {
  const inputs = new ParameterInputs(parameters);
  const grid = { height: symbol("height"), width: symbol("width") };
  const sides = [times(PATCH, grid.height), times(PATCH, grid.width)];
  const pixels = input("pixels", "u8", [symbol("n"), ...sides, 3]);
  const features = oryxViT(inputs.params.at(TOWER), pixels, grid, parameters.model.visionShape);
  return { inputs, features };
}

/** `pixels` u8 [n, 16 * height, 16 * width, 3] -> `features` [n, height * width, vision width]. */
export function towerForward(parameters: Parameters): Graph {
  return { outputs: { features: tower(parameters).features }, sizes: [] };
}

/** `pixels` and the gradient of `features` -> gradients of the tower's trained parameters. */
export function towerBackward(parameters: Parameters): Graph {
  const { inputs, features } = tower(parameters);
  return { outputs: inputs.gradients([upstream("features", features)], {}), sizes: [] };
}

function connector(parameters: Parameters) {
  const inputs = new ParameterInputs(parameters);
  const regions = { rows: symbol("rows"), columns: symbol("columns"), k: symbol("k") };
  const patches = times(regions.rows, regions.k, regions.columns, regions.k);
  const features = input("features", "f32", [symbol("n"), patches, parameters.model.visionShape.width]);
  const { rows, marks } = connect(inputs.params.at("model"), features, regions);
  return { inputs, features, rows, marks, sizes: ["rows", "columns", "k"] };
}

/**
 * `features` [n, rows * k * columns * k, vision width] and the scalars `rows`, `columns` and `k` -> `visual`
 * [n, rows * (columns + 1), width] and `marks` [3, width].
 */
export function connectorForward(parameters: Parameters): Graph {
  const { rows, marks, sizes } = connector(parameters);
  return { outputs: { visual: rows, marks }, sizes };
}

/** The same inputs, and the gradients of both outputs -> gradients of trained parameters, and of `features`. */
export function connectorBackward(parameters: Parameters, options: BackwardOptions): Graph {
  const { inputs, features, rows, marks, sizes } = connector(parameters);
  const seeds = [upstream("visual", rows), upstream("marks", marks)];
  return { outputs: inputs.gradients(seeds, options.inputs ? { features } : {}), sizes };
}

/**
 * Sequences to their loss, and back.
 *
 * Inputs: `ids` i64 [n, length], sequences padded at their end with any id, which nothing sees, to a multiple of
 * {@link CAUSAL_BLOCKS}; `text` f32 [n, length], 1 where the id counts, 0 where a visual row stands; `visual` f32
 * [n, length, width], that row, zeros elsewhere; `chosen` i64 [chosen], places n * length + i whose next token is
 * learnt; `targets` i64 [chosen], those tokens; `labels` f32 scalar, what the sum is divided by.
 * Outputs: `loss` f32 scalar; gradients of trained parameters, and of `visual`.
 */
export function languageBackward(parameters: Parameters, options: BackwardOptions): Graph {
  const { inputs, loss, visual } = language(parameters, options.layers);
  const seed = { of: loss, upstream: scalar(1, "f32") };
  return { outputs: { loss, ...inputs.gradients([seed], options.inputs ? { visual } : {}) }, sizes: [] };
}

/** The same inputs -> `loss` alone. */
export function languageForward(parameters: Parameters, { layers }: Partial<BackwardOptions> = {}): Graph {
  return { outputs: { loss: language(parameters, layers).loss }, sizes: [] };
}

function language(parameters: Parameters, layers = parameters.model.config.language.layers) {
  const inputs = new ParameterInputs(parameters);
  const { language: config } = parameters.model.config;
  const p = inputs.params.at("model");
  const [n, block, chosen] = [symbol("n"), symbol("block"), symbol("chosen")];
  const length = times(CAUSAL_BLOCKS, block);
  const places = times(n, length);
  const flat = (t: Tensor) => reshape(t, [places, ...t.shape.slice(2)]);
  const visual = input("visual", "f32", [n, length, config.hiddenSize]);
  const text = reshape(input("text", "f32", [n, length]), [places, 1]);
  const embedded = embedding(p.at("embed_tokens"), flat(input("ids", "i64", [n, length])));
  const x = add(mul(embedded, text), flat(visual));
  const hidden = languageModel(p, { ...config, layers }, x, attentionWithin(config, n, block));
  const logits = logitsAt(inputs.params, config, hidden, input("chosen", "i64", [chosen]));
  const sum = crossEntropy(logits, input("targets", "i64", [chosen]));
  return { inputs, visual, loss: div(sum, input("labels", "f32", [])) };
}
