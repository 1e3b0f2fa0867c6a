import type { Example } from "../data/example.ts";
import type { RgbImage } from "../media/media.ts";
import { MARKS } from "../model/oryx.ts";
import { type Compression, viewTokens, visualSequence } from "../model/visual.ts";
import { PATCH } from "../model/vit.ts";

/** Pictures of one size that are compressed alike and computed together. */
export interface PictureRun {
  /** Patches. */
  height: number;
  width: number;
  k: Compression;
  /** Each once, however often it is shown. */
  pictures: readonly RgbImage[];
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
 * Groups the pictures of examples into runs, the largest first: so that several lanes end at about the same time. What
 * is the same object, frames of a film that stands still, is computed once: its rows stand in several places, where
 * their gradients add up.
 * @param patchesPerRun patches of one run at most; one picture is always taken
 */
export function planPictures(examples: readonly Example[], patchesPerRun: number): PicturePlan {
  const groups = new Map<string, { k: Compression; distinct: Set<RgbImage> }>();
  for (const { shape, pictures } of examples.flatMap((e) => e.visuals)) {
    for (const { image } of pictures) {
      const key = `${image.width} ${image.height} ${shape.k}`;
      const group = groups.get(key) ?? { k: shape.k, distinct: new Set() };
      group.distinct.add(image);
      groups.set(key, group);
    }
  }
  const runs: PictureRun[] = [];
  const firstRows: FirstRows = new Map();
  let at: number = MARKS.length;
  for (const { k, distinct } of groups.values()) {
    const pictures = [...distinct];
    const firstRow = firstRows.get(k) ?? new Map<RgbImage, number>();
    firstRows.set(k, firstRow);
    const image = pictures[0] as RgbImage;
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
  const sequences = examples.map(({ visuals }) => visuals.map((v) => rowsOf(v, firstRows)));
  return { runs, rows: at, sequences };
}

/** Where the rows of each picture begin, as it is compressed by k. */
type FirstRows = Map<Compression, Map<RgbImage, number>>;

/** The rows of one visual's sequence: marks, and all rows of each view of each picture. */
function rowsOf({ shape, count, pictures }: Example["visuals"][number], firstRows: FirstRows): Int32Array {
  const rows = visualSequence(shape.modality, count).flatMap((part) => {
    if ("mark" in part) return [MARKS.indexOf(part.mark)];
    const picture = pictures.find((p) => p.view === part.view && p.picture === part.picture);
    if (picture === undefined) throw new RangeError(`picture ${part.picture} has no ${part.view} view`);
    const { image } = picture;
    const first = firstRows.get(shape.k)?.get(image) as number;
    return Array.from({ length: viewTokens(image, shape.k) }, (_, i) => first + i);
  });
  return Int32Array.from(rows);
}

/** The pixels of a run, u8 [n, height, width, 3]. */
export function pixelsOf({ pictures, height, width }: PictureRun): Uint8Array {
  const size = height * width * PATCH * PATCH * 3;
  const pixels = new Uint8Array(pictures.length * size);
  pictures.forEach(({ data }, i) => {
    pixels.set(data, i * size);
  });
  return pixels;
}
