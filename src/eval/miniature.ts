import { score } from "../world/score.ts";
import { composeSample, worldSample } from "../world/world.ts";
import type { World } from "./world.ts";

/** The world that oryx-tiny is trained on. Descriptions are worth their facts, all else is right or wrong. */
export const MINIATURE_WORLD: World = {
  turns: (seed, options) => composeSample(seed, options).turns,
  sample: worldSample,
  score(turn, got) {
    const { correct, f1 } = score(turn, got);
    return f1 ?? (correct ? 1 : 0);
  },
};
