import { OryxError } from "../core/errors.ts";
import { times } from "../graph/dim.ts";
import {
  abs,
  add,
  cast,
  concat,
  div,
  expand,
  gather,
  gatherInt4,
  gelu,
  layerNormalization,
  matmulInt4,
  matmulInt8,
  matmulTransposed,
  max,
  mul,
  quantizeRows,
  reshape,
  rmsNormalization,
  scalar,
  sigmoid,
  split,
} from "../graph/ops.ts";
import { constant, type Tensor } from "../graph/tensor.ts";
import { JOINED, type Matrix, type Params } from "./params.ts";

/** x [.., in] -> [.., out], with the bias when there is one. */
export function linear(p: Params, x: Tensor): Tensor {
  const y = product(x, p.matrix("weight"));
  return p.has("bias") ? add(y, p.tensor("bias")) : y;
}

/**
 * x through each of the matrices that are one of {@link JOINED}: in one product where they are stored as one, since each
 * product costs threads that wait for each other.
 */
export function linears(p: Params, joined: keyof typeof JOINED, x: Tensor): Tensor[] {
  const parts = (JOINED[joined] as readonly string[]).map((name) => p.at(name));
  if (!p.at(joined).has("weight")) return parts.map((part) => linear(part, x));
  const y = product(x, p.at(joined).matrix("weight"));
  const biases = parts.flatMap((part) => (part.has("bias") ? [part.tensor("bias")] : []));
  const biased = biases.length === parts.length ? add(y, concat(biases, 0)) : y;
  return split(
    biased,
    parts.map((part) => part.rows("weight")),
    -1,
  );
}

/** x times a matrix, by the kernel that its storage calls for. */
function product(x: Tensor, matrix: Matrix): Tensor {
  switch (matrix.storage) {
    case "dense":
      return matmulTransposed(x, cast(matrix.values, x.dtype));
    case "int4":
      return matmulInt4(x, matrix.packed, matrix.scales);
    case "int8":
      return productInt8(x, matrix.values, matrix.scales);
    case "lora": {
      const narrow = mul(matmulTransposed(x, matrix.down), matrix.scale); // [.., rank]
      return add(product(x, matrix.base), matmulTransposed(narrow, matrix.up));
    }
  }
}

/** Each row of x is quantised by its own largest value, so that one outlier spoils no other row. */
function productInt8(x: Tensor, values: Tensor, scales: Tensor): Tensor {
  // The reshape says what ONNX Runtime's reductions get wrong where there are no rows.
  const largest = add(reshape(max(abs(x), [-1]), x.shape.with(-1, 1)), 1e-30);
  const rows = times(...x.shape.slice(0, -1));
  const step = div(largest, 127);
  const zero = constant({ dtype: "u8", shape: [], data: Uint8Array.of(128) });
  const zeros = expand(reshape(zero, [1]), [rows]);
  const quantised = quantizeRows(reshape(x, [rows, x.dim(-1)]), reshape(step, [rows]), zeros);
  return mul(matmulInt8(reshape(quantised, x.shape), values, scalar(1, "f32"), scales, zero), step);
}

/** Rows of the table at ids [s] -> [s, width]; only those rows leave the stored type. */
export function embedding(p: Params, ids: Tensor): Tensor {
  const table = p.table("weight");
  switch (table.storage) {
    case "dense":
      return cast(gather(table.values, ids), "f32");
    case "int4":
      return embeddingInt4(table.packed, table.scales, ids);
    case "int8":
    case "lora":
      throw new OryxError(
        "weights_mismatch",
        `${p.path} is stored as ${table.storage}`,
        "a table of rows is int4 or floating point",
      );
  }
}

function embeddingInt4(packed: Tensor, scales: Tensor, ids: Tensor): Tensor {
  const [rows, blocks, bytes] = packed.shape as [number, number, number];
  return gatherInt4(reshape(packed, [rows, blocks * bytes]), scales, ids, 2 * bytes);
}

export function layerNorm(p: Params, x: Tensor, epsilon: number): Tensor {
  return layerNormalization(x, p.tensor("weight"), p.tensor("bias"), epsilon);
}

export function rmsNorm(p: Params, x: Tensor, epsilon: number): Tensor {
  return rmsNormalization(x, p.tensor("weight"), epsilon);
}

/** OryxViT's MLP: linear, exact GELU, linear. */
export function geluMlp(p: Params, x: Tensor): Tensor {
  return linear(p.at("fc2"), gelu(linear(p.at("fc1"), x)));
}

/** The language models' MLP: down(silu(gate x) * up x). */
export function swiGlu(p: Params, x: Tensor): Tensor {
  const [gate, up] = linears(p, "gate_up_proj", x) as [Tensor, Tensor];
  return linear(p.at("down_proj"), mul(mul(gate, sigmoid(gate)), up));
}
