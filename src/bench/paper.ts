import { gigabytes } from "../core/figures.ts";
import { elementCount } from "../core/tensor.ts";
import { textTable } from "../core/text-table.ts";
import { kvBytes } from "../model/cost.ts";
import { expectedLanguageTensors, isConnector } from "../weights/expected.ts";
import { hasInt4 } from "../weights/forms.ts";
import type { Int4Block } from "../weights/quantise.ts";
import { configOf } from "./config.ts";
import { ELEMENT_BYTES, languageCost } from "./cost.ts";
import { COMPRESSOR_WIDTH, type LanguageShape } from "./shapes.ts";
import { bytesStoredAs, WEIGHT_TYPES, type WeightType } from "./weights.ts";

/** What can be told of a shape without running it. */
export interface PaperReport {
  bench: "paper";
  shape: LanguageShape;
  /** The language model's, without compressor and projector. */
  parameters: number;
  /** Bytes of a model folder without the vision tower, by how its weights are stored. */
  bytes: Readonly<Record<WeightType, number>>;
  /** Keys and values in f32. */
  cacheBytesPerToken: number;
  /** Operations of a prompt, to its first answered token. */
  prefill: readonly { tokens: number; operations: number }[];
  /** Operations of one token behind so many others. */
  decode: readonly { filled: number; operations: number }[];
}

/** Size and cost of a shape. @param block of int4, see `oryx convert --block` */
export function benchOnPaper(
  shape: LanguageShape,
  prompts: readonly number[],
  contexts: readonly number[],
  block?: Int4Block,
): PaperReport {
  const config = configOf(shape);
  const { language } = config;
  const expected = expectedLanguageTensors(config, COMPRESSOR_WIDTH);
  const own = [...expected].filter(([name]) => !isConnector(name));
  return {
    bench: "paper",
    shape,
    parameters: own.reduce((sum, [, dims]) => sum + elementCount(dims), 0),
    bytes: Object.fromEntries(
      WEIGHT_TYPES.map((w) => [w, bytesStoredAs(expected, w, hasInt4(w) ? block : undefined)]),
    ) as PaperReport["bytes"],
    cacheBytesPerToken: kvBytes(language, 1, ELEMENT_BYTES),
    prefill: prompts.map((tokens) => ({ tokens, operations: languageCost(language, tokens, 0).operations })),
    decode: contexts.map((filled) => ({ filled, operations: languageCost(language, 1, filled).operations })),
  };
}

/** The report as a table. */
export function paperTable({
  shape,
  parameters,
  bytes,
  cacheBytesPerToken,
  prefill,
  decode,
}: PaperReport): string {
  const giga = (operations: number) => `${(operations / 1e9).toFixed(0)} G operations`;
  return [
    `${shape}, on paper: ${(parameters / 1e9).toFixed(2)} G parameters`,
    textTable([
      ...WEIGHT_TYPES.map((w) => [`stored as ${w}`, gigabytes(bytes[w])]),
      ["keys and values of 1,000 tokens", gigabytes(1000 * cacheBytesPerToken)],
      ...prefill.map((p) => [`prefill of ${p.tokens} tokens`, giga(p.operations)]),
      ...decode.map((d) => [`decode, ${d.filled} tokens cached`, giga(d.operations)]),
    ]),
  ].join("\n");
}
