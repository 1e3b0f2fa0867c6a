import { type Dim, times } from "../graph/dim.ts";
import {
  abs,
  add,
  cast,
  dimValue,
  div,
  greater,
  matmul,
  matmulTransposed,
  mul,
  range,
  relu,
  reshape,
  scalar,
  sub,
  transpose,
  where,
} from "../graph/ops.ts";
import type { Tensor } from "../graph/tensor.ts";
import { imageAttention } from "../nn/attention.ts";
import { geluMlp, layerNorm } from "../nn/layers.ts";
import type { Params } from "../nn/params.ts";

/** Side of a patch in pixels. */
export const PATCH = 16;
const LAYER_NORM_EPSILON = 1e-6;

/** A grid of patches. */
export interface Grid {
  height: Dim;
  width: Dim;
}

/** What the vision tower's tensors tell of it, and the config's number of heads. */
export interface VisionShape {
  /** Width of a token. */
  width: number;
  /** Transformer blocks. */
  blocks: number;
  /** Attention heads. */
  heads: number;
  /** Width of the MLP. */
  mlpWidth: number;
  /** Side of the square table of positions, in patches. */
  grid: number;
}

/**
 * OryxViT: a vision transformer without a class token or a final norm, at the picture's own resolution.
 * @param pixels u8 [n, 16 * height, 16 * width, 3], images or frames of one size. @returns [n, height * width, width]
 */
export function oryxViT(p: Params, pixels: Tensor, grid: Grid, shape: VisionShape): Tensor {
  let x = add(patchEmbedding(p.at("patch_embed.proj"), pixels, grid), positions(p, grid, shape));
  for (let i = 0; i < shape.blocks; i++) x = block(p.at(`blocks.${i}`), x, shape.heads);
  return x;
}

/** One pre-norm block. x [n, length, width] -> same. */
function block(p: Params, x: Tensor, heads: number): Tensor {
  x = add(x, imageAttention(p.at("attn"), layerNorm(p.at("norm1"), x, LAYER_NORM_EPSILON), heads));
  return add(x, geluMlp(p.at("mlp"), layerNorm(p.at("norm2"), x, LAYER_NORM_EPSILON)));
}

/** A convolution whose stride is its size is a product over patches. -> [n, height * width, width] */
function patchEmbedding(p: Params, pixels: Tensor, { height, width }: Grid): Tensor {
  const n = pixels.dim(0);
  const patches = transpose(reshape(pixels, [n, height, PATCH, width, PATCH, 3]), [0, 1, 3, 5, 2, 4]);
  const flat = reshape(patches, [n, times(height, width), 3 * PATCH * PATCH]);
  const kernel = p.tensor("weight"); // [width, 3, 16, 16]
  const product = matmulTransposed(normalise(flat), reshape(kernel, [kernel.dim(0), 3 * PATCH * PATCH]));
  return add(product, p.tensor("bias"));
}

/** 0 … 255 to -1 … 1: mean 0.5, deviation 0.5, in the reference's order of operations. */
function normalise(pixels: Tensor): Tensor {
  return div(sub(div(cast(pixels, "f32"), 255), 0.5), 0.5);
}

/** The table of positions, resized bilinearly to the grid. -> [1, height * width, width] */
function positions(p: Params, { height, width }: Grid, shape: VisionShape): Tensor {
  const { grid: side, width: channels } = shape;
  const table = reshape(p.tensor("pos_embed"), [side, side * channels]);
  const rows = matmul(interpolation(height, side), table); // [height, side * channels]
  const all = matmul(interpolation(width, side), reshape(rows, [height, side, channels]));
  return reshape(all, [1, times(height, width), channels]);
}

/**
 * Bilinear interpolation from `side` samples to `length`, as a matrix [length, side]: each row holds the weights
 * of a tent around its source position (pixel centres aligned, clamped at the border; no antialiasing).
 */
function interpolation(length: Dim, side: number): Tensor {
  const scale = div(scalar(side, "f32"), dimValue(length, "f32"));
  const centres = sub(mul(add(cast(range(length), "f32"), 0.5), scale), 0.5);
  const source = clampAbove(relu(centres), side - 1);
  const distance = abs(sub(reshape(source, [length, 1]), reshape(cast(range(side), "f32"), [1, side])));
  return relu(sub(scalar(1, "f32"), distance));
}

const clampAbove = (x: Tensor, limit: number): Tensor => {
  const bound = scalar(limit, "f32");
  return where(greater(x, bound), bound, x);
};
