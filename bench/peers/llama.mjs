import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getLlama } from "node-llama-cpp";
import { LANGUAGE } from "../../dist/bench/shapes.js";
import { contest, timed, tokens } from "./contestant.mjs";
import { writeGguf } from "./gguf.mjs";

/** node-llama-cpp on the CPU, everything else as it likes it. */
let vocabulary;
let sequence;

contest({
  async load({ shape, context: contextSize, threads }) {
    const folder = mkdtempSync(join(tmpdir(), "oryx-peers-"));
    try {
      const modelPath = join(folder, "random.gguf");
      writeGguf(modelPath, LANGUAGE[shape]);
      const llama = await getLlama({
        gpu: false,
        build: "never",
        skipDownload: true,
        maxThreads: threads,
        logLevel: "error",
      });
      const model = await llama.loadModel({ modelPath });
      const context = await model.createContext({ contextSize, threads });
      vocabulary = LANGUAGE[shape].vocabulary;
      sequence = context.getSequence();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  /** Feeds tokens behind the first `from` ones. */
  async prefill({ from, count }) {
    await truncate(from);
    const options = { temperature: 0, yieldEogToken: true };
    const answer = sequence.evaluate(tokens(from, count, vocabulary), options);
    const ms = await timed(() => answer.next());
    await answer.return();
    return ms;
  },
  /** Behind what was prefilled, which is left as it was. */
  async decode({ steps }) {
    const filled = sequence.nextTokenIndex;
    const answer = sequence.evaluate([1], { temperature: 0, yieldEogToken: true });
    const ms = await timed(async () => {
      for (let step = 0; step < steps; step++) await answer.next();
    });
    await answer.return();
    await truncate(filled);
    return ms / steps;
  },
});

async function truncate(length) {
  const end = sequence.nextTokenIndex;
  if (end > length) await sequence.eraseContextTokenRanges([{ start: length, end }]);
}
