import type { RgbImage } from "../media/media.ts";
import type { VisualShape } from "../model/visual.ts";
import type { PromptToken } from "../text/prompt.ts";

/** The label of a place whose token is not learnt. */
export const IGNORED = -100;

/** One picture as the vision tower sees it, resized to its view. */
export interface ExamplePicture {
  view: "main" | "low";
  /** Its number within the visual: 0 for an image, the frame's for a video. */
  picture: number;
  image: RgbImage;
}

/** One image or video of an example. */
export interface ExampleVisual {
  shape: VisualShape;
  /** Images, or frames. */
  count: number;
  /** All views of all pictures. */
  pictures: readonly ExamplePicture[];
}

/** One conversation to learn from: tokens, which of them are learnt, and what it shows. */
export interface Example {
  /** Names it in the log. */
  id: string;
  /** Token ids, and the places where visuals stand. */
  prompt: readonly PromptToken[];
  /** Beside each prompt token: its id where it is learnt, else {@link IGNORED}. Always ignored at visuals. */
  labels: readonly number[];
  visuals: readonly ExampleVisual[];
  /** Beside each prompt token that is a visual: what each of its rows is to be named, or {@link IGNORED}. */
  rowLabels?: readonly (Int32Array | undefined)[];
  /** Tokens of the sequence, visual ones included. */
  tokens: number;
}

/** Examples by their number. */
export interface Dataset {
  readonly length: number;
  /**
   * The same number gives the same example, whenever it is asked for.
   * @throws OryxError `sample_invalid`, `sample_too_long` or a `media_*` code: the sample is to be skipped, counted and named.
   */
  example(index: number): Promise<Example>;
  /** Frees files; a second call does nothing. */
  close(): Promise<void>;
}
