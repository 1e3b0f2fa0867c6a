import { elementCount } from "../core/tensor.ts";
import { PARTS, type Part } from "./arena.ts";
import { partOf } from "./selection.ts";

/** Of each part, the share of its matrices that is learnt, from 0 to 1. */
export type LearntShares = Readonly<Record<Part, number>>;

/** Parameters that are looked up in or added, or counted apart: the output layer computes only what is predicted. */
const TABLES = /pos_embed|embed_tokens|lm_head/;

export function learntShares(
  shapes: Iterable<readonly [name: string, shape: readonly number[]]>,
  isTrained: (name: string) => boolean,
): LearntShares {
  const all = { tower: 0, connector: 0, language: 0 };
  const trained = { ...all };
  for (const [name, shape] of shapes) {
    if (shape.length < 2 || TABLES.test(name)) continue;
    const size = elementCount(shape);
    all[partOf(name)] += size;
    if (isTrained(name)) trained[partOf(name)] += size;
  }
  const share = (part: Part) => (all[part] > 0 ? trained[part] / all[part] : 0);
  return Object.fromEntries(PARTS.map((part) => [part, share(part)])) as Record<Part, number>;
}

/**
 * Forward passes that each part's backward run is worth, itself computing forward once more but for the language
 * model, whose forward run it is: one for what leads on to its inputs, where something before it is learnt, and one
 * for the gradients of its matrices, as far as they are learnt.
 */
export function backwardPasses({ tower, connector, language }: LearntShares): Readonly<Record<Part, number>> {
  return {
    tower: tower > 0 ? 2 + tower : 0,
    connector: tower > 0 ? 2 + connector : connector > 0 ? 1 + connector : 0,
    language: 1 + language,
  };
}
