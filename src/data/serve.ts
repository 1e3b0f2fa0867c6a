import { parentPort, workerData } from "node:worker_threads";
import { plainError } from "../core/errors.ts";
import type { RgbImage } from "../media/media.ts";
import type { Dataset, Example } from "./example.ts";
import { type Order, outcomeOf, type Report } from "./loader.ts";

/**
 * The work of a thread that prepares examples: opens the data set that it was started with, then answers each number
 * with its example. Whoever can open data sets makes a program of it:
 * ```ts
 * serveExamples(openDataset);
 * ```
 */
export async function serveExamples<Spec>(open: (spec: Spec) => Promise<Dataset>): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error("serveExamples is for worker threads");
  const report = (said: Report, transfer: ArrayBuffer[] = []) => port.postMessage(said, transfer);
  const fail = (error: unknown) => report({ kind: "failed", ...plainError(error) });
  const serve = async (dataset: Dataset, index: number) => {
    const outcome = await outcomeOf(dataset, index);
    if ("skipped" in outcome) return report({ kind: "outcome", index, outcome });
    const { example, buffers } = detachable(outcome.example);
    report({ kind: "outcome", index, outcome: { example } }, buffers);
  };
  try {
    const dataset = await open(workerData as Spec);
    const atWork = new Set<Promise<void>>();
    port.on("message", async (order: Order) => {
      if (order !== "end") {
        const work: Promise<void> = serve(dataset, order)
          .catch(fail)
          .finally(() => atWork.delete(work));
        atWork.add(work);
        return;
      }
      await Promise.all(atWork);
      await dataset.close().catch(() => {}); // nobody waits for its files any more
      port.close(); // and with it the thread
    });
    report({ kind: "ready", length: dataset.length });
  } catch (error) {
    fail(error);
  }
}

/**
 * An example whose pixels can be moved to another thread, with their memory, each piece named once. Pixels that lie
 * within larger memory (a pool) are copied out of it. What is one image for several frames arrives as one.
 */
function detachable(example: Example): { example: Example; buffers: ArrayBuffer[] } {
  const images = new Map<RgbImage, RgbImage>();
  const visuals = example.visuals.map((visual) => ({
    ...visual,
    pictures: visual.pictures.map((picture) => {
      const image = images.get(picture.image) ?? withOwnMemory(picture.image);
      images.set(picture.image, image);
      return { ...picture, image };
    }),
  }));
  const buffers = new Set([...images.values()].map(({ data }) => data.buffer as ArrayBuffer));
  return { example: { ...example, visuals }, buffers: [...buffers] };
}

function withOwnMemory(image: RgbImage): RgbImage {
  const { buffer, byteLength } = image.data;
  const isOwn = buffer instanceof ArrayBuffer && byteLength === buffer.byteLength;
  return isOwn ? image : { ...image, data: image.data.slice() };
}
