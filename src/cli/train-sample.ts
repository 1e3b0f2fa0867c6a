import { appendFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { OryxError } from "../core/errors.ts";
import { mediaItem } from "../eval/pictures.ts";
import { oryxAnswerer } from "../eval/run.ts";
import { onDisk } from "../files/disk.ts";
import { PAPER } from "../model/visual.ts";
import { Oryx } from "../node/oryx.ts";
import type { Recipe } from "../recipe/recipe.ts";
import type { SnapshotMoment } from "../recipe/run.ts";
import { KINDS, type Kind } from "../world/sample.ts";
import { worldSample } from "../world/world.ts";

/** Longest answer that is waited for: a model that has learnt nothing may not stop by itself. */
const MAX_TOKENS = 64;
/** In the folder of the run: the model while it is asked. */
const SAMPLE_DIR = ".sample";
/** Of the sample that is asked about. */
const SEED = 0;

/**
 * Asks the model at each snapshot the same question of the world, one that training never sees, on the path that
 * every request takes; the question is of the last of the world's kinds that the stage has. Answers go to
 * `samples.jsonl` too.
 */
export function sampler(
  recipe: Recipe,
  out: string,
  threads: number | undefined,
  say: (text: string) => void,
): (moment: SnapshotMoment) => Promise<void> {
  return async ({ stage, state, write }) => {
    const kind = KINDS.findLast((k) => stage.data.some((data) => data.from === "world" && k in data.kinds));
    if (kind === undefined || stage.template === "naming") return; // records have no held-out questions, names none
    // Its own folder, and always the same: what a kill leaves there goes with the next sample.
    const dir = join(out, SAMPLE_DIR);
    const remove = () => onDisk(`remove ${dir}`, () => rm(dir, { recursive: true, force: true }));
    try {
      await remove();
      await write(join(dir, "model"));
      const { question, expected, got } = await ask(join(dir, "model"), kind, threads);
      const shown = (text: string) => JSON.stringify(text.length > 90 ? `${text.slice(0, 90)}…` : text);
      say(`step ${state.step}: ${shown(question)} -> ${shown(got)}, right: ${shown(expected)}`);
      const line = {
        recipe: recipe.name,
        step: state.step,
        stage: stage.name,
        kind,
        question,
        expected,
        got,
      };
      const file = join(out, "samples.jsonl");
      await onDisk(`write ${file}`, () => appendFile(file, `${JSON.stringify(line)}\n`));
    } catch (error) {
      // An answer is for those who watch: without one, training goes on.
      if (!(error instanceof OryxError)) throw error;
      say(`note: the model could not be asked: ${error.message}`);
    } finally {
      await remove().catch(() => undefined);
    }
  };
}

async function ask(model: string, kind: Kind, threads: number | undefined) {
  const sample = await worldSample(SEED, { split: "heldout", kinds: { [kind]: 1 } });
  const turn = sample.turns[0] as (typeof sample.turns)[number];
  const oryx = await Oryx.load(model, { threads, cache: false });
  try {
    const got = await oryxAnswerer(
      oryx,
      MAX_TOKENS,
    )({
      id: sample.id,
      media: [await mediaItem(sample.media)],
      visual: { maxFrames: Math.max(PAPER.videoFrames, sample.media.pictures.length) },
      text: turn.question,
      expected: turn.answer,
      score: () => 0,
    });
    return { question: turn.question, expected: turn.answer, got };
  } finally {
    await oryx.close();
  }
}
