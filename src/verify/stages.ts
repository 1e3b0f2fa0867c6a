import { elementCount } from "../core/tensor.ts";
import type { Modality } from "../model/visual.ts";

/** What a reference can tell of a case: a picture's stages, an image's once for each view, and what follows. */
export const PICTURE_STAGES = ["pixels", "vit", "compressed"] as const;
export type PictureStage = (typeof PICTURE_STAGES)[number];

/** An image's overview and main view, as the stages call them. */
export type View = "low" | "high";

export type CaseModality = Modality | "text";

/** Names of the stages that a case of each modality has. */
export function stagesOf(modality: CaseModality): ReadonlySet<string> {
  if (modality === "text") return new Set(["logits_last"]);
  const pictures =
    modality === "image" ? PICTURE_STAGES.flatMap((s) => [`${s}_low`, `${s}_high`]) : PICTURE_STAGES;
  return new Set([...pictures, "visual_tokens", "logits_last"]);
}

/** Name of a picture's stage; without a view for frames, which have one. */
export function stageName(stage: PictureStage, view: View | undefined): string {
  return view === undefined ? stage : `${stage}_${view}`;
}

/** How many elements 0, s, 2s, … of a tensor there are. */
export function keptElements(shape: readonly number[], stride: number): number {
  return Math.ceil(elementCount(shape) / stride);
}

/**
 * Every stride-th element of a tensor that comes in pieces along its first axis, as a reference keeps them; the
 * rest is never held. A tensor larger than was expected is counted, not stored.
 */
export class StageSample {
  /** The kept elements, in order; 0 where nothing came. */
  readonly values: Float32Array;
  readonly #stride: number;
  #rows = 0;
  #rest: readonly number[] | undefined;

  /** @param kept room, in elements */
  constructor(stride: number, kept: number) {
    this.#stride = stride;
    this.values = new Float32Array(kept);
  }

  /** Shape of all pieces together; undefined before the first, and when they do not fit each other. */
  get shape(): readonly number[] | undefined {
    return this.#rest && Number.isInteger(this.#rows) ? [this.#rows, ...this.#rest] : undefined;
  }

  /** Adds a piece; `at` gives its element at a row-major place. */
  push(shape: readonly number[], at: (i: number) => number): void {
    const [rows = 1, ...rest] = shape;
    this.#rest ??= rest;
    if (`${rest}` !== `${this.#rest}`) {
      this.#rows = Number.NaN;
      return;
    }
    const width = elementCount(rest);
    const start = this.#rows * width;
    for (let k = Math.ceil(start / this.#stride); k < this.values.length; k++) {
      const i = k * this.#stride - start;
      if (i >= rows * width) break;
      this.values[k] = at(i);
    }
    this.#rows += rows;
  }
}
