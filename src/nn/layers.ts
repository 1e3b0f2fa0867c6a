import {
  add,
  cast,
  gather,
  gelu,
  layerNormalization,
  matmulTransposed,
  mul,
  rmsNormalization,
  sigmoid,
} from "../graph/ops.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Params } from "./params.ts";

/** x [.., in] -> [.., out], with the bias when there is one. */
export function linear(p: Params, x: Tensor): Tensor {
  const y = matmulTransposed(x, cast(p.matrix("weight").values, x.dtype));
  return p.has("bias") ? add(y, p.tensor("bias")) : y;
}

/** Rows of the table at ids [s] -> [s, width]; only those rows leave the stored type. */
export function embedding(p: Params, ids: Tensor): Tensor {
  return cast(gather(p.matrix("weight").values, ids), "f32");
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
  const gate = linear(p.at("gate_proj"), x);
  return linear(p.at("down_proj"), mul(mul(gate, sigmoid(gate)), linear(p.at("up_proj"), x)));
}
