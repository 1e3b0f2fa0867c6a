import { type Dim, plus, times } from "../graph/dim.ts";
import {
  add,
  concat,
  expand,
  gelu,
  matmul,
  matmulTransposed,
  mean,
  mul,
  reshape,
  softmax,
  transpose,
} from "../graph/ops.ts";
import type { Tensor } from "../graph/tensor.ts";
import { linear } from "../nn/layers.ts";
import type { Params } from "../nn/params.ts";

/** What joins the vision tower to the language model: the dynamic compressor and the projector. */

/** The grid after compression: `rows` x `columns` regions of k x k patches. */
export interface Regions {
  rows: Dim;
  columns: Dim;
  k: Dim;
}

/**
 * The dynamic compressor. Each k x k region becomes its mean plus an attention-weighted sum of its tokens;
 * queries come from the mean, keys from the tokens, and the values are the tokens themselves.
 * @param features [n, rows * k * columns * k, width] @returns [n, rows * columns, width]
 */
export function compress(p: Params, features: Tensor, { rows, columns, k }: Regions): Tensor {
  const [n, , width] = features.shape as [Dim, Dim, number];
  const apart = transpose(reshape(features, [n, rows, k, columns, k, width]), [0, 1, 3, 2, 4, 5]);
  const tokens = reshape(apart, [n, times(rows, columns), times(k, k), width]);
  const pool = mean(tokens, [2]); // [n, regions, 1, width]
  const query = linear(p.at("vlm_query_projector"), pool);
  const key = linear(p.at("vlm_key_projector"), tokens);
  const scores = mul(matmulTransposed(query, key), 1 / Math.sqrt(key.dim(-1) as number));
  const summary = add(pool, matmul(softmax(scores), tokens));
  return reshape(summary, [n, times(rows, columns), width]);
}

/** Into the language model's width: linear, exact GELU, linear. */
export function project(p: Params, x: Tensor): Tensor {
  return linear(p.at("proj.2"), gelu(linear(p.at("proj.0"), x)));
}

/** Every row of the grid, closed by the newline. x [n, rows * columns, width] -> [n, rows * (columns + 1), width] */
export function withNewlines(p: Params, x: Tensor, { rows, columns }: Regions): Tensor {
  const [n, , width] = x.shape as [Dim, Dim, number];
  const newline = expand(reshape(p.tensor("image_newline"), [1, 1, 1, width]), [n, rows, 1, width]);
  const grid = concat([reshape(x, [n, rows, columns, width]), newline], 2);
  return reshape(grid, [n, times(rows, plus(columns, 1)), width]);
}
