import type { TensorData } from "../core/tensor.ts";
import { type Example, IGNORED } from "../data/example.ts";
import { sequencePlaces } from "../model/cost.ts";

/** One example as the language model takes it: its tokens and visual rows in order, and what is learnt of it. */
export interface Sequence {
  /** At each place the token's id, or -1 - r for visual row r of the step. */
  places: Int32Array;
  /** At each place the id that is to be predicted there, the next one; or {@link IGNORED}. */
  targets: Int32Array;
  /** How many are predicted. */
  labels: number;
}

/** @param visuals for each visual of the example, its rows among those of the step */
export function sequenceOf({ prompt, labels, rowLabels }: Example, visuals: readonly Int32Array[]): Sequence {
  const rowsOf = (visual: number) => visuals[visual] ?? new Int32Array(0);
  const length = prompt.reduce<number>(
    (n, t) => n + (typeof t === "number" ? 1 : rowsOf(t.visual).length),
    0,
  );
  const places = new Int32Array(length);
  const targets = new Int32Array(length).fill(IGNORED);
  let [at, learnt] = [0, 0];
  prompt.forEach((token, i) => {
    if (typeof token !== "number") {
      rowsOf(token.visual).forEach((row, j) => {
        const label = rowLabels?.[i]?.[j] ?? IGNORED;
        targets[at] = label;
        if (label !== IGNORED) learnt++;
        places[at++] = -1 - row;
      });
      return;
    }
    const label = labels[i] ?? IGNORED;
    // The first place follows nothing that could predict it.
    if (label !== IGNORED && at > 0) {
      targets[at - 1] = label;
      learnt++;
    }
    places[at++] = token;
  });
  return { places, targets, labels: learnt };
}

/**
 * Sequences in batches of like length, longest first, each of at most `tokens` places when its sequences are padded
 * to its longest; a longer sequence stands alone. The batches are about equally large, and a multiple of `lanes` if
 * that can be, so that all lanes end together.
 */
export function microBatches(sequences: readonly Sequence[], tokens: number, lanes = 1): Sequence[][] {
  const sorted = [...sequences].sort((a, b) => b.places.length - a.places.length);
  const least = packed(sorted, tokens, () => tokens).length;
  const wanted = Math.ceil(least / lanes) * lanes;
  let left = sorted.reduce((sum, s) => sum + s.places.length, 0);
  return packed(sorted, tokens, (batches, last) => {
    left -= last;
    return left / Math.max(1, wanted - batches);
  });
}

/** @param share places that the next batch is to have, given how many batches there are and the size of the last */
function packed(
  sorted: readonly Sequence[],
  tokens: number,
  share: (batches: number, last: number) => number,
): Sequence[][] {
  const batches: Sequence[][] = [];
  let [batch, target, size]: [Sequence[], number, number] = [[], share(0, 0), 0];
  for (const sequence of sorted) {
    const length = batch[0]?.places.length ?? sequence.places.length;
    const isFull = (batch.length + 1) * length > tokens || size + length / 2 > target;
    if (batch.length > 0 && isFull) {
      batches.push(batch);
      target = share(batches.length, size);
      [batch, size] = [[], 0];
    }
    batch.push(sequence);
    size += sequence.places.length;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

/** A micro-batch as the language graph's inputs, all but the visual rows themselves. */
export interface LanguageInputs {
  inputs: Record<"ids" | "text" | "chosen" | "targets", TensorData>;
  /** Sequences, and places of each, padding included. */
  n: number;
  length: number;
  /** Which of the step's visual rows stands at each of the n * length places, or -1. */
  visual: Int32Array;
}

export function languageInputs(batch: readonly Sequence[]): LanguageInputs {
  const n = batch.length;
  const length = paddedLength(batch);
  const ids = new BigInt64Array(n * length);
  const text = new Float32Array(n * length);
  const visual = new Int32Array(n * length).fill(-1);
  const chosen: number[] = [];
  const targets: number[] = [];
  batch.forEach((sequence, i) => {
    sequence.places.forEach((place, j) => {
      const at = i * length + j;
      if (place < 0) {
        visual[at] = -1 - place;
      } else {
        ids[at] = BigInt(place);
        text[at] = 1;
      }
    });
    sequence.targets.forEach((target, j) => {
      if (target === IGNORED) return;
      chosen.push(i * length + j);
      targets.push(target);
    });
  });
  return {
    inputs: {
      ids: { dtype: "i64", shape: [n, length], data: ids },
      text: { dtype: "f32", shape: [n, length], data: text },
      chosen: integers(chosen),
      targets: integers(targets),
    },
    n,
    length,
    visual,
  };
}

/** Places of each sequence of a batch: those of its longest. */
export const paddedLength = (batch: readonly Sequence[]): number =>
  sequencePlaces(Math.max(...batch.map((s) => s.places.length)));

const integers = (values: readonly number[]): TensorData => ({
  dtype: "i64",
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});
