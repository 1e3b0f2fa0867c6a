import { viewTokens, visualSequence } from "../model/visual.ts";
import { PATCH } from "../model/vit.ts";
import { allowedLength } from "./conversation.ts";
import { type Example, type ExampleVisual, IGNORED } from "./example.ts";

/** The token for what stands on a region of a picture, whose sides are shares of the picture's; or {@link IGNORED}. */
export type Namer = (
  picture: number,
  region: { x: number; y: number; width: number; height: number },
) => number;

/**
 * An example in which visual tokens are named by themselves, without a language model: a beginning for a tower that
 * knows nothing, in the place of a pretrained one. The visual stands once for each namer.
 * @throws OryxError `sample_too_long`
 */
export function namingExample(
  id: string,
  visual: ExampleVisual,
  namers: readonly Namer[],
  maxTokens: number,
): Example {
  const rowLabels = namers.map((namer) => labelsOf(visual, namer));
  const labels = namers.map(() => IGNORED);
  const shown = rowLabels.reduce((n, rows) => n + rows.length, 0);
  const tokens = allowedLength(shown, shown, maxTokens);
  return { id, prompt: namers.map(() => ({ visual: 0 })), labels, visuals: [visual], rowLabels, tokens };
}

function labelsOf({ shape, count }: ExampleVisual, namer: Namer): Int32Array {
  const { modality, views, k } = shape;
  const rows = visualSequence(modality, count).flatMap((part): number[] => {
    if ("mark" in part) return [IGNORED];
    // An overview is too small for what its picture shows.
    if (part.view === "low") return Array<number>(viewTokens(views.low ?? views.main, k)).fill(IGNORED);
    const [columns, lines] = [views.main.width / (PATCH * k), views.main.height / (PATCH * k)];
    const [width, height] = [1 / columns, 1 / lines];
    return Array.from({ length: lines }, (_, r) => [
      ...Array.from({ length: columns }, (_, c) =>
        namer(part.picture, { x: (c + 0.5) * width, y: (r + 0.5) * height, width, height }),
      ),
      IGNORED, // the newline
    ]).flat();
  });
  return Int32Array.from(rows);
}
