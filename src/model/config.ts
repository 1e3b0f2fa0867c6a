/** What the language model computes with. */
export interface LanguageConfig {
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  rmsNormEps: number;
  ropeTheta: number;
  vocabSize: number;
  maxPositions: number;
  tiedEmbeddings: boolean;
  qkvBias: boolean;
}
