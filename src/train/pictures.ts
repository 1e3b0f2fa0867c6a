import type { Example, ExamplePicture } from "../data/example.ts";
import { MARKS } from "../model/oryx.ts";
import { type Compression, viewTokens, visualSequence } from "../model/visual.ts";
import { PATCH } from "../model/vit.ts";

/** Pictures of one size that are compressed alike and computed together. */
export interface PictureRun {
  /** Patches. */
  height: number;
  width: number;
  k: Compression;
  pictures: readonly ExamplePicture[];
  /** Where their visual rows begin among all rows; they follow one another. */
  firstRow: number;
  /** Visual rows of each. */
  rows: number;
}

/** Where everything that is seen lies among the visual rows of a step: the marks, then the pictures run by run. */
export interface PicturePlan {
  runs: readonly PictureRun[];
  /** Visual rows of the step. */
  rows: number;
  /** For each example, for each of its visuals, the rows of its sequence in order. */
  sequences: readonly (readonly Int32Array[])[];
}

/**
 * Groups the pictures of examples into runs, the largest first: so that several lanes end at about the same time.
 * @param patchesPerRun patches of one run at most; one picture is always taken
 */
export function planPictures(examples: readonly Example[], patchesPerRun: number): PicturePlan {
  const groups = new Map<string, { k: Compression; pictures: ExamplePicture[] }>();
  for (const { shape, pictures } of examples.flatMap((e) => e.visuals)) {
    for (const picture of pictures) {
      const { width, height } = picture.image;
      const key = `${width} ${height} ${shape.k}`;
      const group = groups.get(key) ?? { k: shape.k, pictures: [] };
      group.pictures.push(picture);
      groups.set(key, group);
    }
  }
  const runs: PictureRun[] = [];
  const firstRow = new Map<ExamplePicture, number>();
  let at: number = MARKS.length;
  for (const { k, pictures } of groups.values()) {
    const { image } = pictures[0] as ExamplePicture;
    const [height, width] = [image.height / PATCH, image.width / PATCH];
    const rows = viewTokens(image, k);
    const most = Math.max(1, Math.floor(patchesPerRun / (height * width)));
    const size = Math.ceil(pictures.length / Math.ceil(pictures.length / most));
    for (let i = 0; i < pictures.length; i += size) {
      const chosen = pictures.slice(i, i + size);
      runs.push({ height, width, k, pictures: chosen, firstRow: at, rows });
      for (const picture of chosen) {
        firstRow.set(picture, at);
        at += rows;
      }
    }
  }
  const patches = (r: PictureRun) => r.pictures.length * r.height * r.width;
  runs.sort((a, b) => patches(b) - patches(a));
  const sequences = examples.map(({ visuals }) => visuals.map((v) => rowsOf(v, firstRow)));
  return { runs, rows: at, sequences };
}

/** The rows of one visual's sequence: marks, and all rows of each view of each picture. */
function rowsOf(
  { shape, count, pictures }: Example["visuals"][number],
  firstRow: ReadonlyMap<ExamplePicture, number>,
): Int32Array {
  const rows = visualSequence(shape.modality, count).flatMap((part) => {
    if ("mark" in part) return [MARKS.indexOf(part.mark)];
    const picture = pictures.find((p) => p.view === part.view && p.picture === part.picture);
    if (picture === undefined) throw new RangeError(`picture ${part.picture} has no ${part.view} view`);
    const first = firstRow.get(picture) as number;
    return Array.from({ length: viewTokens(picture.image, shape.k) }, (_, i) => first + i);
  });
  return Int32Array.from(rows);
}

/** The pixels of a run, u8 [n, height, width, 3]. */
export function pixelsOf({ pictures, height, width }: PictureRun): Uint8Array {
  const size = height * width * PATCH * PATCH * 3;
  const pixels = new Uint8Array(pictures.length * size);
  pictures.forEach(({ image }, i) => {
    pixels.set(image.data, i * size);
  });
  return pixels;
}
