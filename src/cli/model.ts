import { realpath } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { hubSettings } from "../net/settings.ts";
import type { Oryx } from "../node/oryx.ts";
import { loadOptions, type ModelOptions } from "./options.ts";
import type { Shell } from "./shell.ts";
import type { StatusLine } from "./status-line.ts";

/** The model that comes with the package. */
export const PACKAGED_MODEL = {
  name: "oryx-random-tiny",
  folder: fileURLToPath(new URL("../../models/oryx-random-tiny", import.meta.url)),
  /** Its weights are random, so that its answers mean nothing. */
  isRandom: true,
} as const;

/** Which model is meant. */
export interface ModelChoice {
  /** What to call it: as the user wrote it. */
  name: string;
  /** A folder, or ORG/NAME. */
  where: string;
  randomWeights: boolean;
}

/** The model of `--model`, else of ORYX_MODEL, else the package's own. */
export async function chooseModel(asked: string | undefined, env: Shell["io"]["env"]): Promise<ModelChoice> {
  const named = asked ?? (env.ORYX_MODEL || undefined);
  const { name, folder, isRandom } = PACKAGED_MODEL;
  if (named === undefined) return { name, where: folder, randomWeights: isRandom };
  return { name: named, where: named, randomWeights: isRandom && (await isSamePlace(named, folder)) };
}

/** A model that is loaded. */
export interface ChosenModel extends ModelChoice {
  oryx: Oryx;
}

/** Loads the model that the options ask for, and says so if its answers will mean nothing. */
export async function loadChosen(
  options: ModelOptions,
  shell: Shell,
  line: StatusLine,
): Promise<ChosenModel> {
  const choice = await chooseModel(options.model, shell.io.env);
  const { cacheDir } = hubSettings(shell.io.env);
  if (choice.randomWeights) {
    shell.note(`note: the weights of ${PACKAGED_MODEL.name} are random: its answers mean nothing`);
  }
  line.show(`loading ${choice.name}`, true);
  const { Oryx } = await import("../node/oryx.ts");
  const oryx = await Oryx.load(choice.where, { ...loadOptions(options), cacheDir, conversations: 1 });
  return { ...choice, oryx };
}

async function isSamePlace(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([a, b].map((path) => realpath(path).catch(() => path)));
  return one === other;
}
