import { OryxError } from "../core/errors.ts";
import type { TensorData } from "../core/tensor.ts";
import type { OryxConfig } from "../model/config.ts";
import type { VisionShape } from "../model/vit.ts";
import type { Runtime } from "../runtime/session.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { expectedLanguageTensors, expectedVisionTensors } from "../weights/expected.ts";
import { loadFloat32 } from "../weights/files.ts";
import { TOWER } from "../weights/tower.ts";
import { Arena, Layout } from "./arena.ts";
import { fillInitial } from "./initial.ts";
import { factorNames, factorShapes, isAdapted, isFactor, LoraMerger, type LoraOptions } from "./lora.ts";
import { partOf, selectNames } from "./selection.ts";

/** What decides the names and shapes of a model's parameters. */
export interface ModelShape {
  config: OryxConfig;
  visionShape: VisionShape;
  /** Rows of the compressor's projections. */
  compressorWidth: number;
}

/** Which parameters are learnt. */
export interface Training {
  /** Parts or patterns of names, see `selectNames`; with LoRA, the matrices it corrects stay frozen all the same. */
  trained: readonly string[];
  lora?: LoraOptions | undefined;
}

/** Names and shapes of all parameters, the vision tower's as in a checkpoint that holds it too. */
export function parameterShapes(model: ModelShape): Map<string, readonly number[]> {
  const shapes = expectedLanguageTensors(model.config, model.compressorWidth);
  for (const [name, shape] of expectedVisionTensors(model.visionShape)) shapes.set(`${TOWER}.${name}`, shape);
  return shapes;
}

/**
 * Names and shapes of all parameters, LoRA's factors included, and the names of those that are learnt.
 * @throws OryxError `bad_option` (a pattern that matches nothing, LoRA that cannot be)
 */
export function arrange(
  model: ModelShape,
  { trained, lora }: Training,
): { shapes: Map<string, readonly number[]>; selected: Set<string> } {
  const shapes = parameterShapes(model);
  const selected = selectNames(shapes.keys(), trained);
  if (lora) {
    for (const name of shapes.keys()) if (isAdapted(name)) selected.delete(name);
    for (const [name, shape] of factorShapes(shapes, lora)) {
      shapes.set(name, shape);
      selected.add(name);
    }
  }
  return { shapes, selected };
}

/** All parameters of a model as f32: those that are learnt in one arena, the others in another. */
export class Parameters {
  readonly model: ModelShape;
  readonly lora: LoraOptions | undefined;
  readonly trained: Arena;
  readonly frozen: Arena;

  /**
   * Arranges them; all are zero.
   * @throws OryxError `bad_option` (a pattern that matches nothing, nothing to train), `out_of_memory`
   */
  constructor(model: ModelShape, training: Training) {
    const { shapes, selected } = arrange(model, training);
    if (selected.size === 0) {
      throw new OryxError("bad_option", "nothing is trained", "name at least one part to train");
    }
    const all = [...shapes].map(([name, shape]) => ({ name, shape, part: partOf(name) }));
    const arena = (trained: boolean) =>
      new Arena(new Layout(all.filter(({ name }) => selected.has(name) === trained)));
    this.model = model;
    this.lora = training.lora;
    this.trained = arena(true);
    this.frozen = arena(false);
  }

  has(name: string): boolean {
    return this.trained.has(name) || this.frozen.has(name);
  }

  /** Names of all parameters, LoRA's factors included. */
  names(): string[] {
    return [...this.trained.layout.slots.keys(), ...this.frozen.layout.slots.keys()];
  }

  /** A parameter where it lies. */
  tensor(name: string): TensorData & { dtype: "f32" } {
    return (this.trained.has(name) ? this.trained : this.frozen).tensor(name);
  }

  /** Fills parameters with what they are before anything was learnt; default: all of them. */
  initialise(seed: number, chosen: (name: string) => boolean = () => true): void {
    const { config, visionShape } = this.model;
    const blocks = (name: string) => (partOf(name) === "tower" ? visionShape.blocks : config.language.layers);
    for (const name of this.names()) {
      if (!chosen(name)) continue;
      const { data, shape } = this.tensor(name);
      fillInitial(name, data, shape, { seed, blocks });
    }
  }

  /**
   * Every tensor of the trained model under its checkpoint's name, LoRA's corrections merged into their matrices.
   * Those that were not corrected are views of the arenas.
   */
  async *merged(runtime: Runtime): AsyncGenerator<[name: string, tensor: TensorData & { dtype: "f32" }]> {
    const merger = this.lora && new LoraMerger(runtime, this.lora.alpha / this.lora.rank);
    try {
      for (const name of parameterShapes(this.model).keys()) {
        const base = this.tensor(name);
        const { down, up } = factorNames(name);
        if (!merger || !this.has(down)) yield [name, base];
        else yield [name, await merger.merge(base, this.tensor(down), this.tensor(up))];
      }
    } finally {
      await merger?.close();
    }
  }
}

/**
 * A checkpoint's parameters as f32; LoRA's factors begin without effect.
 * @param options.seed of LoRA's factors
 * @throws OryxError `weights_unsupported` for integer weights, `weights_*`, `bad_option`, `out_of_memory`
 */
export async function loadParameters(
  checkpoint: Checkpoint,
  training: Training,
  options: { seed?: number } = {},
): Promise<Parameters> {
  const parameters = new Parameters(checkpoint, training);
  for (const name of parameterShapes(checkpoint).keys()) {
    const tower = name.startsWith(`${TOWER}.`);
    const stored = tower
      ? checkpoint.vision.get(name.slice(TOWER.length + 1))
      : checkpoint.language.get(name);
    if (stored === undefined) {
      const problem = `${checkpoint.dir} holds ${name} as integers`;
      throw new OryxError(
        "weights_unsupported",
        problem,
        "train the model as published, not a converted one",
      );
    }
    parameters.tensor(name).data.set(await loadFloat32(stored));
  }
  parameters.initialise(options.seed ?? 0, isFactor);
  return parameters;
}
