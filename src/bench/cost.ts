import type { LanguageConfig } from "../model/config.ts";
import type { VisionShape } from "../model/vit.ts";
import { PATCH } from "../model/vit.ts";

/** What a step must do at least, whatever the program: a multiplication and an addition are two operations. */
export interface Cost {
  operations: number;
  /** Bytes of weights and cache that must be read. */
  bytes: number;
}

/** Bytes of an element where it is computed with: weights and cache are f32 there. */
const ELEMENT_BYTES = 4;

/** Elements of the matrices that every token is multiplied with. */
function layerElements(c: LanguageConfig): number {
  const attention = c.hiddenSize * c.headDim * 2 * (c.heads + c.kvHeads);
  return c.layers * (attention + 3 * c.hiddenSize * c.intermediateSize);
}

/** Feeding `tokens` behind `cached` ones, with logits for the last. */
export function languageCost(c: LanguageConfig, tokens: number, cached: number): Cost {
  const head = c.hiddenSize * c.vocabSize;
  const pairs = tokens * cached + (tokens * (tokens + 1)) / 2;
  const scores = 4 * c.layers * c.heads * c.headDim * pairs;
  const cache = 2 * c.layers * c.kvHeads * c.headDim * (cached + tokens);
  return {
    operations: 2 * (tokens * layerElements(c) + head) + scores,
    bytes: ELEMENT_BYTES * (layerElements(c) + head + cache),
  };
}

/** Encoding one picture of so many patches in OryxViT; the connector behind it is under 2% of that. */
export function visionCost({ width, blocks, mlpWidth }: VisionShape, patches: number): Cost {
  const weights = blocks * (4 * width * width + 2 * width * mlpWidth) + 3 * PATCH * PATCH * width;
  return {
    operations: 2 * patches * weights + 4 * blocks * width * patches * patches,
    bytes: ELEMENT_BYTES * weights,
  };
}
