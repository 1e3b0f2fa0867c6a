import { createHash } from "node:crypto";
import { availableParallelism, cpus } from "node:os";
import { installedLibrary } from "../runtime/node/library.ts";
import type { ModelGraphs } from "./caching.ts";
import { versions } from "./versions.ts";

/**
 * Hash of all that decides how fast a model is: its graphs and the shapes and types of its weights, whose values do
 * not matter; the device, the processor and its cores; and the versions of what computes.
 * @param threads as asked for
 */
export function computedBy(graphs: ModelGraphs, threads: number | undefined): string {
  const { vision, language, device, libraryPath = installedLibrary() } = graphs;
  const machine = [
    device,
    process.arch,
    cpus()[0]?.model ?? "",
    availableParallelism(),
    threads ?? "default",
  ];
  const hash = createHash("sha256").update(
    JSON.stringify([...machine, libraryPath, process.version, versions()]),
  );
  for (const { onnx, weights } of [...vision, ...language]) {
    hash.update(onnx);
    for (const [name, { dtype, shape }] of weights) hash.update(JSON.stringify([name, dtype, shape]));
  }
  return hash.digest("hex");
}
