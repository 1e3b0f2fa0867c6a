import { OryxError } from "../core/errors.ts";
import type { Size } from "../core/size.ts";
import type { TensorData } from "../core/tensor.ts";
import { Turns } from "../core/turns.ts";
import type { RgbImage } from "../media/media.ts";
import { MARKS } from "../model/oryx.ts";
import {
  type Compression,
  type VisualShape,
  viewTokens,
  visualSequence,
  visualTokens,
} from "../model/visual.ts";
import { PATCH } from "../model/vit.ts";
import type { OutputTarget, Session } from "../runtime/session.ts";

/** Patches of one run: small frames gain from company, 784 patches and more do not, and memory grows with each. */
const PATCHES_PER_RUN = 1024;

/** What the vision graph can tell of pictures, beside the rows: every stage, for comparison with a reference. */
export type VisionStage = "vit" | "compressed" | "rows" | "marks";

/** The vision tower, compressor and projector at work: pictures in, rows of the language model's width out. */
export class VisionEncoder {
  /** Width of the rows, the language model's. */
  readonly width: number;
  readonly #session: Session;
  readonly #turns = new Turns();
  #marks: Promise<Float32Array> | undefined;

  /** @param session the vision graph */
  constructor(session: Session, width: number) {
    this.#session = session;
    this.width = width;
  }

  /** How many pictures of a size go into one run. */
  batchSize({ width, height }: Size): number {
    return Math.max(1, Math.floor(PATCHES_PER_RUN / ((width / PATCH) * (height / PATCH))));
  }

  /** Rows of pictures of one size, f32 [n, rows * (columns + 1), width]. */
  async rows(pictures: readonly RgbImage[], k: Compression, signal?: AbortSignal): Promise<Float32Array> {
    const first = pictures[0] as RgbImage;
    const shape = [pictures.length, viewTokens(first, k), this.width];
    const rows: TensorData = { dtype: "f32", shape, data: new Float32Array(shape.reduce((a, b) => a * b)) };
    await this.run(pictures, k, { rows }, signal);
    return rows.data as Float32Array;
  }

  /** Chosen stages of pictures of one size. */
  run(
    pictures: readonly RgbImage[],
    k: Compression,
    outputs: Partial<Record<VisionStage, OutputTarget>>,
    signal?: AbortSignal,
  ): Promise<Record<string, TensorData>> {
    const { width, height } = pictures[0] as RgbImage;
    const data = new Uint8Array(pictures.length * height * width * 3);
    pictures.forEach((p, i) => {
      if (p.width !== width || p.height !== height) throw new RangeError("pictures of one run have one size");
      data.set(p.data, i * p.data.length);
    });
    const inputs: Record<string, TensorData> = {
      pixels: { dtype: "u8", shape: [pictures.length, height, width, 3], data },
      k: { dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(k)) },
    };
    return this.#turns.take(
      () => this.#session.run(inputs, outputs as Record<string, OutputTarget>, { signal }),
      signal,
    );
  }

  /**
   * Does `work` while nothing else is computed here. What it computes, it asks of the encoder that it is given; this
   * one would wait for it.
   */
  alone<T>(work: (encoder: VisionEncoder) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#turns.take(() => work(new VisionEncoder(this.#session, this.width)), signal);
  }

  /** The marks of a visual sequence, f32 [3, width] in the order of `MARKS`. */
  marks(): Promise<Float32Array> {
    this.#marks ??= this.#readMarks().catch((error) => {
      this.#marks = undefined; // a failure is not remembered
      throw error;
    });
    return this.#marks;
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  /** The marks are parameters, but the graph is what knows them: a least picture is run for them once. */
  async #readMarks(): Promise<Float32Array> {
    const least = { width: PATCH, height: PATCH, data: new Uint8Array(3 * PATCH * PATCH) };
    const { marks } = await this.run([least], 1, { marks: "fresh" });
    if (marks?.dtype !== "f32")
      throw new OryxError("runtime_failed", "the vision graph gave no marks", "report this");
    return marks.data;
  }
}

/** Visual tokens of one image or video, f32 [tokens, width], filled in as its pictures are encoded. */
export class VisualSequence {
  readonly count: number;
  readonly visual: Float32Array;
  readonly #width: number;
  readonly #shape: VisualShape;
  /** Where each view of a picture begins, and each mark is, in tokens. */
  readonly #places = new Map<string, number>();
  readonly #marks: { row: number; at: number }[] = [];

  constructor(shape: VisualShape, pictures: number, width: number) {
    const { modality, views, k } = shape;
    this.#width = width;
    this.#shape = shape;
    this.count = visualTokens(modality, views, k, pictures);
    this.visual = new Float32Array(this.count * width);
    let at = 0;
    for (const part of visualSequence(modality, pictures)) {
      if ("mark" in part) this.#marks.push({ row: MARKS.indexOf(part.mark), at: at++ });
      else {
        this.#places.set(`${part.view} ${part.picture}`, at);
        at += viewTokens(views[part.view] as Size, k);
      }
    }
  }

  /** Puts in the marks, [3, width] in the order of `MARKS`. */
  mark(marks: Float32Array): void {
    const width = this.#width;
    for (const { row, at } of this.#marks) {
      this.visual.set(marks.subarray(row * width, (row + 1) * width), at * width);
    }
  }

  /** Puts in the rows of consecutive pictures, each [view's tokens, width], beginning with `picture`. */
  fill(view: "main" | "low", picture: number, pictures: number, rows: Float32Array): void {
    const length = rows.length / pictures;
    for (let i = 0; i < pictures; i++) {
      this.rows(view, picture + i).set(rows.subarray(i * length, (i + 1) * length));
    }
  }

  /** Where the rows of a view of a picture are, [view's tokens, width]: a part of `visual`, not a copy. */
  rows(view: "main" | "low", picture: number): Float32Array {
    const at = this.#places.get(`${view} ${picture}`);
    const size = this.#shape.views[view];
    if (at === undefined || size === undefined)
      throw new RangeError(`there is no ${view} view of picture ${picture}`);
    const tokens = viewTokens(size, this.#shape.k);
    return this.visual.subarray(at * this.#width, (at + tokens) * this.#width);
  }
}
