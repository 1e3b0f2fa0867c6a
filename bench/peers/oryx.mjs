import { configOf } from "../../dist/bench/config.js";
import { COMPRESSOR_WIDTH } from "../../dist/bench/shapes.js";
import { expectedTower, loadTower, squareFrame } from "../../dist/bench/vision.js";
import { RandomWeights } from "../../dist/bench/weights.js";
import { loadDecoder } from "../../dist/engine/load.js";
import { Sampler } from "../../dist/engine/sampler.js";
import { createNodeRuntime } from "../../dist/runtime/node/runtime.js";
import { expectedLanguageTensors } from "../../dist/weights/expected.js";
import { contest, timed, tokens } from "./contestant.mjs";

/** Oryx: a language model stored as `auto`, or the vision tower stored as `w8`. */
let model;
let slot;

contest({
  async load({ shape, context, threads, weights, block }) {
    const config = configOf(shape);
    const expected = expectedLanguageTensors(config, COMPRESSOR_WIDTH);
    const random = await RandomWeights.create(expected, weights, block);
    try {
      const runtime = await createNodeRuntime({ threads });
      model = await loadDecoder(runtime, { config: config.language, language: random.tensors });
      slot = model.slot(context);
    } finally {
      random.remove();
    }
  },
  /** Feeds tokens behind the first `from` ones. */
  async prefill({ from, count }) {
    slot.truncate(from);
    const ids = tokens(from, count, model.config.vocabSize);
    return timed(async () => new Sampler().next(await model.prefill(slot, [{ ids }])));
  },
  /** Behind what was prefilled, which is left as it was. */
  async decode({ steps }) {
    const filled = slot.length;
    let id = 1;
    const ms = await timed(async () => {
      for (let step = 0; step < steps; step++) id = new Sampler().next(await model.next(slot, id));
    });
    slot.truncate(filled);
    return ms / steps;
  },
  async loadVision({ threads }) {
    const random = await RandomWeights.create(expectedTower(), "w8");
    try {
      model = await loadTower(await createNodeRuntime({ threads }), random.tensors);
    } finally {
      random.remove();
    }
  },
  async frames({ side, count }) {
    const frames = Array.from({ length: count }, (_, i) => squareFrame(side, i));
    return (await timed(() => model.rows(frames, 2))) / count;
  },
});
