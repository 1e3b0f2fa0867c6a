import { OryxError } from "../core/errors.ts";
import { argmax } from "../engine/sampler.ts";
import { sequenceLength } from "../engine/sequence.ts";
import { createNodeRuntime, type NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { relativeError } from "./compare.ts";
import { type GoldenCase, readGolden } from "./golden.ts";
import { ObservingRuntime } from "./observe.ts";
import { readCase, type VerifiedModel } from "./run.ts";
import { choose, loadVerified } from "./verify.ts";

export interface AgreementOptions extends NodeRuntimeOptions {
  /** Only the case of this name. */
  only?: string;
  /** Tokens that are looked at in each case. */
  tokens?: number;
  signal?: AbortSignal | undefined;
}

/** How far a model says what another one says, in one case. */
export interface CaseAgreement {
  of: string;
  /** Places whose most likely token is the same, of all that were looked at. */
  same: number;
  places: number;
  /** Norm of the logits' difference over the norm of the reference's, on the mean over the places. */
  logitsError: number;
}

export interface AgreementReport {
  reference: string;
  model: string;
  cases: CaseAgreement[];
  /** Share of all places that agree. */
  top1: number;
}

/**
 * Compares a model with another form of it (a quantised one, say) on the cases of the reference's folder. Both are
 * given the reference's own greedy tokens, one at a time as in decoding, so that one difference does not make others.
 * @throws OryxError `weights_mismatch` when they are no forms of one model; as `verify` does
 */
export async function agreement(
  reference: string,
  model: string,
  options: AgreementOptions = {},
): Promise<AgreementReport> {
  const { only, tokens = 64, signal, ...runtimeOptions } = options;
  const [original, other] = [await openCheckpoint(reference), await openCheckpoint(model)];
  requireSameModel(original, other);
  const chosen = choose(await readGolden(reference), only);
  const forced = new Map<string, number[]>();
  const expected = await run(original, chosen, runtimeOptions, async (verified, golden) => {
    const logits = await teacherForced(verified, golden, undefined, tokens, signal);
    forced.set(golden.name, logits.map(argmax));
    return logits;
  });
  const actual = await run(other, chosen, runtimeOptions, (verified, golden) =>
    teacherForced(verified, golden, forced.get(golden.name), tokens, signal),
  );
  const cases = chosen.map(({ name }, i) => compare(name, expected[i] ?? [], actual[i] ?? []));
  const places = cases.reduce((n, c) => n + c.places, 0);
  return { reference, model, cases, top1: cases.reduce((n, c) => n + c.same, 0) / places };
}

function compare(
  of: string,
  expected: readonly Float32Array[],
  actual: readonly Float32Array[],
): CaseAgreement {
  const pairs = expected.map((e, i) => [e, actual[i] as Float32Array] as const);
  const same = pairs.filter(([e, a]) => argmax(e) === argmax(a)).length;
  const logitsError = pairs.reduce((sum, [e, a]) => sum + relativeError(a, e), 0) / pairs.length;
  return { of, same, places: pairs.length, logitsError };
}

/** What no conversion changes. Two models that differ in it say the same by chance at most. */
function requireSameModel(reference: Checkpoint, model: Checkpoint): void {
  const traits = ({ config: { family, language } }: Checkpoint) => [
    ["family", family],
    ["vocabulary", language.vocabSize],
    ["hidden size", language.hiddenSize],
  ];
  const theirs = traits(model);
  const differences = traits(reference).flatMap(([name, value], i) =>
    theirs[i]?.[1] === value ? [] : `${name} ${theirs[i]?.[1]} instead of ${value}`,
  );
  if (differences.length === 0) return;
  throw new OryxError(
    "weights_mismatch",
    `${model.dir} is no form of the model in ${reference.dir}: ${differences.join(", ")}`,
    "compare with what was converted from that very model",
  );
}

async function run<T>(
  checkpoint: Checkpoint,
  cases: readonly GoldenCase[],
  options: NodeRuntimeOptions,
  one: (model: VerifiedModel, golden: GoldenCase) => Promise<T>,
): Promise<T[]> {
  const runtime = new ObservingRuntime(await createNodeRuntime(options));
  try {
    const model = await loadVerified(checkpoint, runtime);
    const results: T[] = [];
    for (const golden of cases) results.push(await one(model, golden));
    return results;
  } finally {
    await runtime.close();
  }
}

/** Logits [vocabulary] at each place: behind the prompt, then behind each given token, or each greedy one. */
async function teacherForced(
  model: VerifiedModel,
  golden: GoldenCase,
  given: readonly number[] | undefined,
  tokens: number,
  signal: AbortSignal | undefined,
): Promise<Float32Array[]> {
  const { sequence } = await readCase(model, golden, new Map(), signal);
  const { decoder } = model;
  return decoder.withSlot(sequenceLength(sequence) + tokens, async (slot) => {
    const logits = [await decoder.prefill(slot, sequence, { signal })];
    while (logits.length < tokens) {
      const id = given?.[logits.length - 1] ?? argmax(logits.at(-1) as Float32Array);
      logits.push(await decoder.next(slot, id, signal));
    }
    return logits;
  });
}
