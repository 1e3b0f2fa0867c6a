import { symbol, times } from "../graph/dim.ts";
import { cast, concat, gather } from "../graph/ops.ts";
import { type Graph, input, type Tensor } from "../graph/tensor.ts";
import type { KeysValues } from "../nn/attention.ts";
import { embedding } from "../nn/layers.ts";
import type { Params } from "../nn/params.ts";
import type { LanguageConfig } from "./config.ts";
import { compress, project, type Regions, withNewlines } from "./connector.ts";
import { attentionOverCache, languageModel, logitsAt, type Pace } from "./language.ts";
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

/** Name of one KV head's keys or values among the language graph's inputs (`past`) and outputs (`present`). */
export function cacheName(
  which: "past" | "present",
  layer: number,
  part: "keys" | "values",
  head: number,
): string {
  return `${which}.${layer}.${part}.${head}`;
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
  const p = root.at("model");
  const length = symbol("length");
  const ids = input("ids", "i64", [symbol("texts")]);
  const visual = input("visual", "f32", [symbol("visuals"), config.hiddenSize]);
  const order = input("order", "i64", [length]);
  const x = gather(concat([embedding(p.at("embed_tokens"), ids), visual], 0), order);
  const past = cache(config, (name) => cast(input(name, kv, [symbol("cached"), config.headDim]), "f32"));
  const { attention, present } = attentionOverCache(config, input("positions", "i64", [length]), past, pace);
  const hidden = languageModel(p, config, x, attention);
  const outputs: Record<string, Tensor> = {
    logits: logitsAt(root, config, hidden, input("rows", "i64", [symbol("chosen")])),
  };
  present.forEach((layer, l) => {
    for (const part of ["keys", "values"] as const) {
      layer[part].forEach((t, h) => {
        outputs[cacheName("present", l, part, h)] = cast(t, kv);
      });
    }
  });
  return { outputs, sizes: [] };
}

function cache(config: LanguageConfig, make: (name: string) => Tensor): KeysValues[] {
  const heads = (layer: number, part: "keys" | "values") =>
    Array.from({ length: config.kvHeads }, (_, h) => make(cacheName("past", layer, part, h)));
  return Array.from({ length: config.layers }, (_, l) => ({
    keys: heads(l, "keys"),
    values: heads(l, "values"),
  }));
}
