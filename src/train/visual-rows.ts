import type { TensorData } from "../core/tensor.ts";
import { MARKS } from "../model/oryx.ts";
import type { PictureRun } from "./pictures.ts";

/** All visual rows of a step and their gradients, [rows, width] each: the marks, then the pictures run by run. */
export class VisualRows {
  readonly #rows: Float32Array;
  readonly #gradients: Float32Array;
  readonly #width: number;

  constructor(rows: number, width: number) {
    this.#rows = new Float32Array(rows * width);
    this.#gradients = new Float32Array(rows * width);
    this.#width = width;
  }

  get marks(): TensorData {
    return this.#part(this.#rows, 0, [MARKS.length]);
  }

  get marksGradient(): TensorData {
    return this.#part(this.#gradients, 0, [MARKS.length]);
  }

  get noMarks(): TensorData {
    return this.#part(new Float32Array(MARKS.length * this.#width), 0, [MARKS.length]);
  }

  /** Where a run's rows lie, [n, rows, width]. */
  of(run: PictureRun): TensorData {
    return this.#part(this.#rows, run.firstRow, [run.pictures.length, run.rows]);
  }

  gradientOf(run: PictureRun): TensorData {
    return this.#part(this.#gradients, run.firstRow, [run.pictures.length, run.rows]);
  }

  /** Rows where they stand in sequences, [...places, width]: zeros where `rows` has -1. */
  at(rows: Int32Array, places: readonly number[]): TensorData {
    const width = this.#width;
    const data = new Float32Array(rows.length * width);
    rows.forEach((row, i) => {
      if (row >= 0) data.set(this.#rows.subarray(row * width, (row + 1) * width), i * width);
    });
    return { dtype: "f32", shape: [...places, width], data };
  }

  /** Adds the gradients of such places, [places, width], to those of the rows. */
  addAt(rows: Int32Array, gradients: Float32Array): void {
    const width = this.#width;
    const sums = this.#gradients;
    rows.forEach((row, i) => {
      if (row < 0) return;
      for (let j = 0; j < width; j++) sums[row * width + j]! += gradients[i * width + j] as number;
    });
  }

  #part(from: Float32Array, first: number, counts: readonly number[]): TensorData {
    const size = counts.reduce((a, b) => a * b, this.#width);
    const data = from.subarray(first * this.#width, first * this.#width + size);
    return { dtype: "f32", shape: [...counts, this.#width], data };
  }
}
