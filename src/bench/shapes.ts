import type { VisionShape } from "../model/vit.ts";

/**
 * Shapes of published models. Speed depends on them and not on what the weights have learnt, so random ones
 * serve, and nothing is downloaded.
 */

/** Language models, from their `config.json`. */
export const LANGUAGE = {
  "qwen2.5-0.5b": {
    hidden: 896,
    mlp: 4864,
    layers: 24,
    heads: 14,
    kvHeads: 2,
    vocabulary: 151936,
    tied: true,
  },
  "qwen2.5-1.5b": {
    hidden: 1536,
    mlp: 8960,
    layers: 28,
    heads: 12,
    kvHeads: 2,
    vocabulary: 151936,
    tied: true,
  },
  "qwen2.5-7b": {
    hidden: 3584,
    mlp: 18944,
    layers: 28,
    heads: 28,
    kvHeads: 4,
    vocabulary: 152064,
    tied: false,
  },
  "yi-34b": {
    hidden: 7168,
    mlp: 20480,
    layers: 60,
    heads: 56,
    kvHeads: 8,
    vocabulary: 64000,
    tied: false,
  },
} as const;

export type LanguageShape = keyof typeof LANGUAGE;
export const LANGUAGE_SHAPES = Object.keys(LANGUAGE) as LanguageShape[];

/** Shapes that are told about, and not run: no machine that this is meant for could hold them. */
export const ON_PAPER: readonly LanguageShape[] = ["yi-34b"];

/** OryxViT as published. */
export const ORYX_VIT: VisionShape = { width: 1152, blocks: 27, heads: 16, mlpWidth: 4304, grid: 128 };

/** Rows of the published compressor's projections. */
export const COMPRESSOR_WIDTH = 256;
