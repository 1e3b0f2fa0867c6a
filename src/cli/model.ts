import type { OryxError } from "../core/errors.ts";
import { hubSettings } from "../net/settings.ts";
import { mediaCacheDir } from "../node/cache-dir.ts";
import type { Oryx } from "../node/oryx.ts";
import { PACKAGED_MODEL } from "../node/packaged.ts";
import { type CacheOption, loadOptions, type ModelOptions } from "./options.ts";
import type { Shell } from "./shell.ts";
import type { StatusLine } from "./status-line.ts";

/** Which model is meant. */
export interface ModelChoice {
  /** What to call it: as the user wrote it. */
  name: string;
  /** A folder, or ORG/NAME. */
  where: string;
}

/** The model of `--model`, else of ORYX_MODEL, else the package's own. */
export function chooseModel(asked: string | undefined, env: Shell["io"]["env"]): ModelChoice {
  const named = asked ?? (env.ORYX_MODEL || undefined);
  if (named === undefined) return { name: PACKAGED_MODEL.name, where: PACKAGED_MODEL.folder };
  return { name: named, where: named };
}

/** A model that is loaded. */
export interface ChosenModel extends ModelChoice {
  /** Its answers mean nothing, as its config says. */
  randomWeights: boolean;
  oryx: Oryx;
}

/** Loads the model that the options ask for, and says so if its answers will mean nothing. */
export async function loadChosen(
  options: ModelOptions & CacheOption,
  shell: Shell,
  line: StatusLine,
): Promise<ChosenModel> {
  const choice = chooseModel(options.model, shell.io.env);
  const { cacheDir } = hubSettings(shell.io.env);
  line.show(`loading ${choice.name}`, true);
  const { Oryx } = await import("../node/oryx.ts");
  const dir = options.cache === false ? undefined : mediaCacheDir(shell.io.env);
  const onProblem = (problem: OryxError) => shell.note(`note: ${problem.message}; ${problem.remedy}`);
  const cache = dir === undefined ? (false as const) : { dir, onProblem };
  const oryx = await Oryx.load(choice.where, { ...loadOptions(options), cacheDir, cache, conversations: 1 });
  const { randomWeights } = oryx.checkpoint.config;
  if (randomWeights) {
    line.clear();
    shell.note(`note: the weights of ${choice.name} are random: its answers mean nothing`);
  }
  return { ...choice, randomWeights, oryx };
}
