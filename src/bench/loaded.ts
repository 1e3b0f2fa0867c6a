import type { StoredTensor } from "../core/tensor.ts";
import { createNodeRuntime, type NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import type { ExpectedTensors } from "../weights/expected.ts";
import type { StoredAs } from "./cost.ts";
import type { OnStep } from "./measure.ts";
import { RandomWeights } from "./weights.ts";

export interface LoadingOptions extends NodeRuntimeOptions, StoredAs {
  /** Told of each step; throws to end the benchmark. */
  onStep?: OnStep | undefined;
}

/** What a benchmark measures, and what it took to have it. */
export interface Loaded<M> {
  model: M;
  runtime: Runtime;
  /** From weights in files to sessions that can run. */
  loadMs: number;
}

/**
 * Makes random weights, loads a model from them, measures it, and lets go of everything.
 * @throws OryxError `bad_option`, `disk`, `runtime_*`
 */
export async function withRandomModel<M, R>(
  expected: ExpectedTensors,
  { weights, block, onStep, device, threads, libraryPath }: LoadingOptions,
  load: (runtime: Runtime, tensors: ReadonlyMap<string, StoredTensor>) => Promise<M>,
  measure: (loaded: Loaded<M>) => Promise<R>,
): Promise<R> {
  const random = await RandomWeights.create(expected, weights, block, onStep);
  try {
    const runtime = await createNodeRuntime({ device, threads, libraryPath });
    try {
      onStep?.("loading");
      const start = performance.now();
      const model = await load(runtime, random.tensors);
      const loadMs = performance.now() - start;
      random.remove(); // the sooner, the less is left behind by a process that is killed
      return await measure({ model, runtime, loadMs });
    } finally {
      await runtime.close();
    }
  } finally {
    random.remove();
  }
}
