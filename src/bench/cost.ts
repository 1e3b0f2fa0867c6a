import type { LanguageConfig } from "../model/config.ts";
import {
  headElements,
  kvBytes,
  languageOperations,
  layerElements,
  towerElements,
  towerOperations,
} from "../model/cost.ts";
import type { VisionShape } from "../model/vit.ts";
import { INT4_BLOCK, type Int4Block } from "../weights/quantise.ts";
import type { WeightType } from "./weights.ts";

/** What a step must do at least, whatever the program: a multiplication and an addition are two operations. */
export interface Cost {
  operations: number;
  /** Bytes of weights and cache that must be read. */
  bytes: number;
}

/** Bytes of an element of the cache, and of a weight that is stored in floating point: computed with as f32. */
export const ELEMENT_BYTES = 4;

/** How weights are stored. */
export interface StoredAs {
  weights: WeightType;
  /** Weights of a scale in int4, where there is any. Default 32. */
  block?: Int4Block | undefined;
}

/** For a report's title. */
export function storedName({ weights, block }: StoredAs): string {
  return block === undefined ? weights : `${weights} (blocks of ${block})`;
}

/** Bytes of one weight of a matrix where one token is computed; int4 has a scale of 4 bytes for a block of weights. */
function weightBytes({ weights, block = INT4_BLOCK }: StoredAs): number {
  if (weights === "f32" || weights === "bf16") return ELEMENT_BYTES;
  return weights === "w8" ? 1 : 0.5 + 4 / block;
}

/** Feeding `tokens` behind `cached` ones, with logits for the last. */
export function languageCost(
  c: LanguageConfig,
  tokens: number,
  cached: number,
  stored: StoredAs = { weights: "f32" },
): Cost {
  const pairs = tokens * cached + (tokens * (tokens + 1)) / 2;
  return {
    operations: languageOperations(c, { tokens, pairs, predicted: 1 }),
    bytes:
      weightBytes(stored) * (layerElements(c) + headElements(c)) + kvBytes(c, cached + tokens, ELEMENT_BYTES),
  };
}

/** Encoding one picture of so many patches in OryxViT; the connector behind it is under 2% of that. */
export const visionCost = (shape: VisionShape, patches: number): Cost => ({
  operations: towerOperations(shape, 1, patches),
  bytes: ELEMENT_BYTES * towerElements(shape),
});
