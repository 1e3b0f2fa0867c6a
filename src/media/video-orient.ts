import type { RgbImage } from "./media.ts";
import { inBands, type Steps } from "./steps.ts";

/** How a stored frame has to be turned before it is shown: clockwise first, then mirrored left to right. */
export interface Orientation {
  /** Degrees clockwise: 0, 90, 180 or 270. */
  rotation: number;
  mirrored: boolean;
}

/** Turns a picture the way its film asks for. Returns the very same picture when there is nothing to do. */
export function* orient(image: RgbImage, { rotation, mirrored }: Orientation): Steps<RgbImage> {
  if (rotation === 0 && !mirrored) return image;
  const sideways = rotation === 90 || rotation === 270;
  const width = sideways ? image.height : image.width;
  const height = sideways ? image.width : image.height;
  const data = new Uint8Array(image.data.length);

  // Source pixel of (column, row) = start + column * acrossStep + row * downStep, in pixels.
  const { start, across, down } = walk(image, rotation);
  yield* inBands(height, width, (begin, end) => {
    let to = 3 * width * begin;
    for (let row = begin; row < end; row++) {
      for (let column = 0; column < width; column++) {
        const shown = mirrored ? width - 1 - column : column;
        const from = 3 * (start + shown * across + row * down);
        data[to++] = image.data[from]!;
        data[to++] = image.data[from + 1]!;
        data[to++] = image.data[from + 2]!;
      }
    }
  });
  return { width, height, data };
}

/** The order in which a turned picture's rows read the stored pixels. */
function walk({ width, height }: RgbImage, rotation: number) {
  const bottomLeft = width * (height - 1);
  if (rotation === 90) return { start: bottomLeft, across: -width, down: 1 };
  if (rotation === 180) return { start: bottomLeft + width - 1, across: -1, down: -width };
  if (rotation === 270) return { start: width - 1, across: width, down: -1 };
  return { start: 0, across: 1, down: width };
}
