import { OryxError } from "../core/errors.ts";
import { loadModel } from "../engine/load.ts";
import { endIds } from "../model/config.ts";
import { createNodeRuntime, type NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { openTokenizer } from "../weights/tokenizer.ts";
import { type GoldenCase, readGolden } from "./golden.ts";
import { ObservingRuntime } from "./observe.ts";
import type { Check, VerifyReport } from "./report.ts";
import { runCase, type VerifiedModel } from "./run.ts";

export interface VerifyOptions extends NodeRuntimeOptions {
  /** Only the case of this name. */
  only?: string;
  /** Also check that generation in small chunks, and without a cache, gives the same tokens. */
  thorough?: boolean;
  signal?: AbortSignal | undefined;
  /** Told what has been found after each case. */
  onCase?: (name: string, checks: readonly Check[]) => void;
}

/**
 * Runs the model in a folder on the cases that lie beside it, and compares every stage with what an independent
 * reference computed: `cases.json`, `expected.safetensors`, `media/`. What is run is the path that answers
 * requests.
 * @returns what was found; failed checks are no error
 * @throws OryxError `golden_invalid` (a malformed reference), `bad_option` (no such case), and what opening the
 *   model, its media and the runtime throws
 */
export async function verify(dir: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const { only, thorough = false, signal, onCase, ...runtimeOptions } = options;
  const start = performance.now();
  const checkpoint = await openCheckpoint(dir);
  const cases = choose(await readGolden(dir), only);
  const runtime = new ObservingRuntime(await createNodeRuntime(runtimeOptions));
  try {
    const model = await loadVerified(checkpoint, runtime);
    const checks: Check[] = [];
    for (const golden of cases) {
      const found = await runCase(model, golden, { thorough, signal });
      checks.push(...found);
      onCase?.(golden.name, found);
    }
    const passed = checks.every((c) => c.passed);
    return { dir, device: runtime.device, passed, checks, totalMs: performance.now() - start };
  } finally {
    await runtime.close();
  }
}

export function choose(cases: readonly GoldenCase[], only: string | undefined): readonly GoldenCase[] {
  const chosen = only === undefined ? cases : cases.filter((c) => c.name === only);
  if (chosen.length > 0) return chosen;
  const names = cases.map((c) => c.name).join(", ");
  throw new OryxError("bad_option", `there is no case ${JSON.stringify(only)}`, `the folder has ${names}`);
}

export async function loadVerified(
  checkpoint: Checkpoint,
  runtime: ObservingRuntime,
): Promise<VerifiedModel> {
  const { config, generation } = checkpoint;
  const tokenizer = await openTokenizer(checkpoint.dir);
  const { decoder, encoder } = await loadModel(runtime, { ...checkpoint, config: config.language });
  const stopIds = new Set(endIds(config, generation));
  return { decoder, encoder, runtime, tokenizer, style: config.family, stopIds };
}
