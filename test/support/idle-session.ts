import type { LanguageConfig } from "../../src/model/config.ts";
import type { InputTensor, Session } from "../../src/runtime/session.ts";

/** The shapes of a language model that is as small as one can be. */
export const NARROW: LanguageConfig = {
  hiddenSize: 16,
  intermediateSize: 16,
  layers: 1,
  heads: 1,
  kvHeads: 1,
  headDim: 16,
  rmsNormEps: 1e-6,
  ropeTheta: 1e4,
  vocabSize: 8,
  maxPositions: 512,
  tiedEmbeddings: true,
  qkvBias: false,
};

/** A session that computes nothing, and tells of its runs when they end. */
export function idleSession(onRun: (inputs: Readonly<Record<string, InputTensor>>) => void): Session {
  return {
    inputNames: [],
    outputNames: [],
    async run(inputs) {
      await new Promise((resolve) => setImmediate(resolve));
      onRun(inputs);
      return {};
    },
    allocate: () => Promise.reject(new Error("nothing is allocated")),
    close: async () => {},
  };
}
