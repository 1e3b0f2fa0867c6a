import { symbol, times } from "../graph/dim.ts";
import { type CacheOperands, cast, concat, gather } from "../graph/ops.ts";
import { type Graph, input, type Tensor } from "../graph/tensor.ts";
import { embedding } from "../nn/layers.ts";
import type { Params } from "../nn/params.ts";
import type { LanguageConfig } from "./config.ts";
import { compress, project, type Regions, withNewlines } from "./connector.ts";
import {
  type Attention,
  attentionInPlace,
  attentionOverCache,
  languageModel,
  logitsAt,
  type Pace,
} from "./language.ts";
import { oryxViT, PATCH, type VisionShape } from "./vit.ts";

/**
 * The two graphs that answer a request: pixels to visual rows, and tokens to logits. Everything that a request
 * may choose is an input of them: the number of pictures, their size, the compression, the length.
 */

/** Marks around and between the parts of a visual sequence, in the order in which the graph stacks them. */
export const MARKS = ["begin", "sep", "end"] as const;
export type Mark = (typeof MARKS)[number];

/**
 * Pictures of one size to rows of the language model's width.
 *
 * Inputs: `pixels` u8 [n, 16 * k * rows, 16 * k * columns, 3]; `k` i64 scalar.
 * Outputs: `vit` [n, k * rows * k * columns, vision width], `compressed` [n, rows * columns, vision width],
 * `rows` [n, rows * (columns + 1), width], `marks` [3, width].
 */
export function visionGraph(vision: Params, connector: Params, shape: VisionShape): Graph {
  const k = symbol("k");
  const regions: Regions = { rows: symbol("rows"), columns: symbol("columns"), k };
  const grid = { height: times(regions.rows, k), width: times(regions.columns, k) };
  const pixels = input("pixels", "u8", [symbol("n"), times(PATCH, grid.height), times(PATCH, grid.width), 3]);
  const vit = oryxViT(vision, pixels, grid, shape);
  return { outputs: { vit, ...connect(connector, vit, regions) }, sizes: ["k"] };
}

/**
 * The vision tower's features [n, rows * k * columns * k, vision width] to `compressed` [n, rows * columns, vision
 * width] and `rows` [n, rows * (columns + 1), width]; and the `marks` [3, width].
 */
export function connect(
  connector: Params,
  features: Tensor,
  regions: Regions,
): Record<"compressed" | "rows" | "marks", Tensor> {
  const compressed = compress(connector.at("vision_resampler"), features, regions);
  const projector = connector.at("mm_projector");
  const rows = withNewlines(projector, project(projector, compressed), regions);
  const marks = concat(
    MARKS.map((m) => projector.row(`image_${m}`)),
    0,
  );
  return { compressed, rows, marks };
}

/** Types in which keys and values may be cached: f16 halves the cache, at three digits of precision. */
export type KvType = "f32" | "f16";

/** The two parts of a layer's cache, in the order in which they are named. */
export const CACHE_PARTS = ["keys", "values"] as const;
export type CachePart = (typeof CACHE_PARTS)[number];

/**
 * Name of a layer's keys or values, or of one KV head's, among the language graph's inputs (`past`) and outputs
 * (`present`).
 */
export function cacheName(which: "past" | "present", layer: number, part: CachePart, head?: number): string {
  return `${which}.${layer}.${part}${head === undefined ? "" : `.${head}`}`;
}

/**
 * Tokens to logits, over a cache.
 *
 * Inputs: `ids` i64 [texts]; `visual` f32 [visuals, width]; `order` i64 [length], which row of (embedded ids, then
 * visual) stands at each place; `positions` i64 [length]; `rows` i64 [chosen], whose logits are wanted;
 * `past.L.keys.H` and `past.L.values.H` [cached, d].
 * Outputs: `logits` [chosen, vocabulary]; `present.L.keys.H` and `present.L.values.H` [length, d], the new rows.
 * @param kv the type in which keys and values are cached; they are computed with as f32
 * @param pace how many tokens it is mostly fed at a time
 */
export function languageGraph(
  root: Params,
  config: LanguageConfig,
  kv: KvType = "f32",
  pace: Pace = "steps",
): Graph {
  const past = layerCaches(config, (layer) => {
    const heads = (part: CachePart) =>
      Array.from({ length: config.kvHeads }, (_, head) =>
        cast(input(cacheName("past", layer, part, head), kv, [symbol("cached"), config.headDim]), "f32"),
      );
    return { keys: heads("keys"), values: heads("values") };
  });
  const positions = input("positions", "i64", [symbol("length")]);
  const { attention, present } = attentionOverCache(config, positions, past, pace);
  const outputs: Record<string, Tensor> = { logits: logits(root, config, attention) };
  present.forEach((cache, layer) => {
    for (const part of CACHE_PARTS) {
      cache[part].forEach((rows, head) => {
        outputs[cacheName("present", layer, part, head)] = cast(rows, kv);
      });
    }
  });
  return { outputs, sizes: [] };
}

/**
 * Tokens to logits, over whole caches that are extended in place.
 *
 * Inputs: those of {@link languageGraph}, but for the cache, which is `past.L.keys` and `past.L.values` [1, kvHeads,
 * capacity, d]; `positions` i64 [total], all up to the step's last; `last` i32 [1], the last of them; `total` i32 [1],
 * how many there are.
 * Outputs: `logits` [chosen, vocabulary]; `present.L.keys` and `present.L.values`, to be given the memory of the inputs.
 */
export function languageGraphInPlace(root: Params, config: LanguageConfig): Graph {
  const [last, total] = [input("last", "i32", [1]), input("total", "i32", [1])];
  const shape = [1, config.kvHeads, symbol("capacity"), config.headDim];
  const past = layerCaches(config, (layer): CacheOperands => {
    const [keys, values] = CACHE_PARTS.map((part) => input(cacheName("past", layer, part), "f32", shape));
    return { keys: keys as Tensor, values: values as Tensor, last, total };
  });
  const positions = input("positions", "i64", [symbol("total")]);
  const { attention, present } = attentionInPlace(config, positions, past);
  const outputs: Record<string, Tensor> = { logits: logits(root, config, attention) };
  present.forEach((cache, layer) => {
    for (const part of CACHE_PARTS) outputs[cacheName("present", layer, part)] = cache[part];
  });
  return { outputs, sizes: [] };
}

/** Logits [chosen, vocabulary] of the inputs that every language graph has. */
function logits(root: Params, config: LanguageConfig, attention: Attention): Tensor {
  const p = root.at("model");
  const ids = input("ids", "i64", [symbol("texts")]);
  const visual = input("visual", "f32", [symbol("visuals"), config.hiddenSize]);
  const order = input("order", "i64", [symbol("length")]);
  const x = gather(concat([embedding(p.at("embed_tokens"), ids), visual], 0), order);
  const hidden = languageModel(p, config, x, attention);
  return logitsAt(root, config, hidden, input("rows", "i64", [symbol("chosen")]));
}

const layerCaches = <Cache>({ layers }: LanguageConfig, make: (layer: number) => Cache): Cache[] =>
  Array.from({ length: layers }, (_, layer) => make(layer));
