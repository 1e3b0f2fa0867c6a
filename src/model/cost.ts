import { CAUSAL_BLOCKS, CAUSAL_SHARE } from "../nn/attention.ts";
import type { LanguageConfig } from "./config.ts";
import { PATCH, type VisionShape } from "./vit.ts";

/**
 * What computing takes. Operations are those of one forward pass in matrix products alone, a multiplication and an
 * addition being two: lookups, norms and activations take under a hundredth of them.
 */

/** Elements of the tower's matrices, the patches' projection among them. */
export const towerElements = ({ width, blocks, mlpWidth }: VisionShape): number =>
  blocks * (4 * width * width + 2 * width * mlpWidth) + 3 * PATCH * PATCH * width;

/** Of pictures of so many patches each. */
export function towerOperations(shape: VisionShape, pictures: number, patches: number): number {
  const scores = 4 * shape.blocks * shape.width * patches;
  return pictures * patches * (2 * towerElements(shape) + scores);
}

/** What the connector is between: the tower's width, that of its projections, and the language model's. */
export interface ConnectorWidths {
  width: number;
  compressorWidth: number;
  hiddenSize: number;
}

/** Of patches that become so many regions. */
export function connectorOperations(
  { width, compressorWidth, hiddenSize }: ConnectorWidths,
  patches: number,
  regions: number,
): number {
  const projector = width * hiddenSize + hiddenSize * hiddenSize;
  return 2 * compressorWidth * width * (patches + regions) + 2 * regions * projector;
}

/** Elements of the matrices that every token is multiplied with. */
export function layerElements(c: LanguageConfig): number {
  const attention = c.hiddenSize * c.headDim * 2 * (c.heads + c.kvHeads);
  return c.layers * (attention + 3 * c.hiddenSize * c.intermediateSize);
}

/** Elements of the output layer. */
export const headElements = (c: LanguageConfig): number => c.hiddenSize * c.vocabSize;

/** Bytes of the keys and values of so many tokens. */
export const kvBytes = (
  { layers, kvHeads, headDim }: LanguageConfig,
  tokens: number,
  elementBytes: number,
): number => 2 * layers * kvHeads * headDim * tokens * elementBytes;

export interface LanguageWork {
  tokens: number;
  /** Pairs of a token and one that it is scored against, those that are then masked included. */
  pairs: number;
  /** Tokens of which the next is predicted. */
  predicted: number;
}

/** Places of a whole sequence in training, those included by which it is padded to equal blocks of attention. */
export const sequencePlaces = (tokens: number): number => CAUSAL_BLOCKS * Math.ceil(tokens / CAUSAL_BLOCKS);

/** Pairs of a whole sequence that training scores. */
export const sequencePairs = (length: number): number => CAUSAL_SHARE * length ** 2;

export const languageOperations = (c: LanguageConfig, { tokens, pairs, predicted }: LanguageWork): number =>
  2 * (tokens * layerElements(c) + predicted * headElements(c)) + 4 * c.layers * c.heads * c.headDim * pairs;
