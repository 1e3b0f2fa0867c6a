import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Decoder } from "./decoder.ts";
import type { KvSlot } from "./kv.ts";
import type { Plan, Reused, Timings } from "./request.ts";
import { argmax, noNumbers } from "./sampler.ts";
import { chunks, type Stretch } from "./sequence.ts";

/** How likely a text is as the whole beginning of an answer. */
export interface Likelihood {
  text: string;
  /** Natural logarithm of the probability of its tokens, each given those before it. */
  logProbability: number;
  tokens: number;
  /** How many of them are the likeliest of all tokens at their places. */
  likeliest: number;
}

/** The likelihood of each of some texts, in their order, and what it took. */
export interface Likelihoods {
  likelihoods: readonly Likelihood[];
  plan: Plan;
  /** Times of the frames that were really used, in seconds, for each video in order. */
  frameTimesS: readonly (readonly number[])[];
  reused: Reused;
  timings: Timings;
}

/** Tokens of one step: each needs a row of logits, which for a vocabulary of 152,064 has 600 kB. */
const ROWS = 32;

/**
 * Log-likelihood of token ids behind what a slot holds, by teacher forcing: each token is scored with those before
 * it fed as they are. The slot is left as it was found.
 * @param first logits [vocabulary] behind the slot's last token
 * @param ids at least one
 */
export async function logLikelihood(
  decoder: Decoder,
  slot: KvSlot,
  first: Float32Array,
  ids: readonly number[],
  signal?: AbortSignal,
): Promise<Omit<Likelihood, "text">> {
  const { vocabSize, hiddenSize } = decoder.config;
  const before = slot.length;
  let [sum, tokens, likeliest] = [0, 0, 0];
  const score = (logits: Float32Array) => {
    const id = ids[tokens++] as number;
    const log = logProbability(logits, id);
    if (Number.isNaN(log)) throw noNumbers();
    sum += log;
    if (argmax(logits) === id) likeliest++;
  };
  score(first);
  try {
    const fed: Stretch[] = [{ ids: ids.slice(0, -1) }];
    for (const chunk of chunks(fed, hiddenSize, () => Math.min(ROWS, decoder.stepTokens))) {
      const length = chunk.order.length;
      const rows = Array.from({ length }, (_, i) => i);
      const logits = await decoder.step(slot, chunk, rows, signal);
      for (const row of rows) {
        score(logits.subarray(row * vocabSize, (row + 1) * vocabSize));
      }
    }
  } finally {
    slot.truncate(before);
  }
  return { logProbability: sum, tokens, likeliest };
}

/** The logarithm of one token's share in the softmax of logits [vocabulary]. */
export function logProbability(logits: Float32Array, id: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > most) most = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return (logits[id] as number) - most - Math.log(sum);
}

/** What the types say, for callers without types. @throws OryxError `bad_option` */
export function checkTexts(texts: readonly string[]): void {
  const isFine = Array.isArray(texts) && texts.every((text) => typeof text === "string" && text !== "");
  if (isFine && texts.length > 0 && texts.length <= LIMITS.likelihoodTexts) return;
  const remedy = `give 1 to ${LIMITS.likelihoodTexts} texts, none of them empty`;
  throw new OryxError("bad_option", "the texts to be scored are none, too many, or no texts", remedy);
}
