import type { DType } from "../core/dtype.ts";
import { OryxError, quote } from "../core/errors.ts";
import type { StoredTensor } from "../core/tensor.ts";
import type { OryxConfig } from "../model/config.ts";
import { PATCH, type VisionShape } from "../model/vit.ts";
import { EMBEDDING, HEAD } from "./forms.ts";

/** Shapes by tensor name. */
export type ExpectedTensors = Map<string, readonly number[]>;

const FLOATS: readonly DType[] = ["f32", "bf16", "f16", "f64"];
const NAMES_SHOWN = 10;

/** Whether a tensor belongs to the compressor or the projector. */
export const isConnector = (name: string): boolean => /^model\.(vision_resampler|mm_projector)\./.test(name);

/**
 * Names and shapes of everything but the vision tower: language model, compressor, projector.
 * @param compressorWidth rows of the compressor's query and key projections; 256 as published
 */
export function expectedLanguageTensors(config: OryxConfig, compressorWidth: number): ExpectedTensors {
  const { hiddenSize, layers, vocabSize, tiedEmbeddings } = config.language;
  const tower = config.vision.hiddenSize;
  const expected: ExpectedTensors = new Map();
  expected.set(EMBEDDING, [vocabSize, hiddenSize]);
  for (let n = 0; n < layers; n++) addDecoderLayer(expected, `model.layers.${n}`, config);
  expected.set("model.norm.weight", [hiddenSize]);
  if (!tiedEmbeddings) expected.set(HEAD, [vocabSize, hiddenSize]);
  addLinear(expected, "model.vision_resampler.vlm_query_projector", compressorWidth, tower);
  addLinear(expected, "model.vision_resampler.vlm_key_projector", compressorWidth, tower);
  addLinear(expected, "model.mm_projector.proj.0", hiddenSize, tower);
  addLinear(expected, "model.mm_projector.proj.2", hiddenSize, hiddenSize);
  for (const mark of ["newline", "begin", "end", "sep"]) {
    expected.set(`model.mm_projector.image_${mark}`, [hiddenSize]);
  }
  return expected;
}

/** Names and shapes of the vision tower, named as in `oryx_vit.pth`. */
export function expectedVisionTensors(shape: VisionShape): ExpectedTensors {
  const { width, blocks, mlpWidth, grid } = shape;
  const expected: ExpectedTensors = new Map();
  expected.set("pos_embed", [1, grid * grid, width]);
  expected.set("patch_embed.proj.weight", [width, 3, PATCH, PATCH]);
  expected.set("patch_embed.proj.bias", [width]);
  for (let n = 0; n < blocks; n++) {
    const block = `blocks.${n}`;
    addNorm(expected, `${block}.norm1`, width);
    addLinear(expected, `${block}.attn.qkv`, 3 * width, width);
    addLinear(expected, `${block}.attn.proj`, width, width);
    addNorm(expected, `${block}.norm2`, width);
    addLinear(expected, `${block}.mlp.fc1`, mlpWidth, width);
    addLinear(expected, `${block}.mlp.fc2`, width, mlpWidth);
  }
  return expected;
}

/**
 * Compares what a file has with what the model needs and returns just that. Everything that is wrong is reported
 * at once: the first ten names of each kind, and how many there are.
 * @param what what the tensors are of, for the message
 * @param unused tells names that a sound file may have though nothing needs them
 * @throws OryxError `weights_missing` when tensors are absent, else `weights_mismatch` when one has another shape,
 *   no floating type, or a name that the model has no place for
 */
export function expectTensors(
  expected: ReadonlyMap<string, readonly number[]>,
  actual: ReadonlyMap<string, StoredTensor>,
  what: string,
  unused: (name: string) => boolean = () => false,
): Map<string, StoredTensor> {
  const found = new Map<string, StoredTensor>();
  const missing: string[] = [];
  const misshapen: string[] = [];
  for (const [name, shape] of expected) {
    const tensor = actual.get(name);
    if (!tensor) missing.push(quote(name));
    else if (!sameShape(tensor.shape, shape) || !FLOATS.includes(tensor.dtype)) {
      misshapen.push(
        `${quote(name)} is ${tensor.dtype} [${tensor.shape}], not [${shape}] of a floating type`,
      );
    } else found.set(name, tensor);
  }
  const surplus = [...actual.keys()].filter((name) => !expected.has(name) && !unused(name)).map(quote);
  const problems = [list("missing", missing), list("of another shape", misshapen), list("surplus", surplus)];
  const problem = problems.filter((text) => text !== "").join("; ");
  if (problem === "") return found;
  throw new OryxError(
    missing.length > 0 ? "weights_missing" : "weights_mismatch",
    `${what}: tensors ${problem}`,
    "check that config.json and the weights belong to the same model and that every file is there",
  );
}

function list(kind: string, items: readonly string[]): string {
  if (items.length === 0) return "";
  const more = items.length > NAMES_SHOWN ? `, and ${items.length - NAMES_SHOWN} more` : "";
  return `${kind} (${items.length}): ${items.slice(0, NAMES_SHOWN).join(", ")}${more}`;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

function addDecoderLayer(expected: ExpectedTensors, layer: string, { language }: OryxConfig): void {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, qkvBias } = language;
  expected.set(`${layer}.input_layernorm.weight`, [hiddenSize]);
  for (const [name, rows] of [
    ["q", heads * headDim],
    ["k", kvHeads * headDim],
    ["v", kvHeads * headDim],
  ] as const) {
    expected.set(`${layer}.self_attn.${name}_proj.weight`, [rows, hiddenSize]);
    if (qkvBias) expected.set(`${layer}.self_attn.${name}_proj.bias`, [rows]);
  }
  expected.set(`${layer}.self_attn.o_proj.weight`, [hiddenSize, heads * headDim]);
  expected.set(`${layer}.post_attention_layernorm.weight`, [hiddenSize]);
  expected.set(`${layer}.mlp.gate_proj.weight`, [intermediateSize, hiddenSize]);
  expected.set(`${layer}.mlp.up_proj.weight`, [intermediateSize, hiddenSize]);
  expected.set(`${layer}.mlp.down_proj.weight`, [hiddenSize, intermediateSize]);
}

function addLinear(expected: ExpectedTensors, name: string, rows: number, columns: number): void {
  expected.set(`${name}.weight`, [rows, columns]);
  expected.set(`${name}.bias`, [rows]);
}

function addNorm(expected: ExpectedTensors, name: string, size: number): void {
  expected.set(`${name}.weight`, [size]);
  expected.set(`${name}.bias`, [size]);
}
