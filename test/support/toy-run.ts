import { openBatches } from "../../src/data/batches.ts";
import { openToy } from "./toy-data.ts";

/** A program that reads two batches from threads and then has nothing more to do, though it closes nothing. */
const workerUrl = new URL("toy-thread.js", import.meta.url);
const spec = { length: 20 };
const batches = await openBatches({ spec, open: openToy, workerUrl, workers: 2, batchSize: 4, seed: 1 });
for await (const { number, examples } of batches.from(0)) {
  console.log(number, examples.length);
  if (number === 1) break;
}
