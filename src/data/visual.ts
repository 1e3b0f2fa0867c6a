import type { Size } from "../core/size.ts";
import type { RgbImage } from "../media/media.ts";
import { resize } from "../media/resize.ts";
import type { ViewLimits } from "../model/views.ts";
import { type Compression, type Modality, type VisualShape, visualShape } from "../model/visual.ts";
import type { ExamplePicture, ExampleVisual } from "./example.ts";

/**
 * Decoded pictures as the vision tower sees them: an image in two views, the overview made from the main view; the
 * frames of a video in one size, that of the first. The engine resizes in the same steps, to the same bytes.
 * The result shares no memory with `pictures`, so that its pixels can be handed to another thread. Frames that are the
 * same object remain the same object: where a film stands still, its picture is resized and encoded once.
 *
 * @param pictures one image, or a video's frames in their order
 * @throws RangeError when an image is not one picture, or a video has none; OryxError `media_too_large`
 */
export function exampleVisual(
  pictures: readonly RgbImage[],
  modality: Modality,
  limits: ViewLimits,
  k?: Compression,
): ExampleVisual {
  const [first] = pictures;
  if (first === undefined) throw new RangeError("a visual has at least one picture");
  if (modality === "image" && pictures.length > 1) throw new RangeError("an image is one picture");
  const shape = visualShape(first, modality, limits, k);
  const views =
    modality === "image"
      ? imageViews(first, shape)
      : framesOnce(pictures, (frame, picture) => frameView(frame, picture, first, shape));
  return { shape, count: pictures.length, pictures: views };
}

/** The views of frames, each distinct frame made once. */
function framesOnce(
  frames: readonly RgbImage[],
  view: (frame: RgbImage, picture: number) => ExamplePicture,
): ExamplePicture[] {
  const images = new Map<RgbImage, RgbImage>();
  return frames.map((frame, picture) => {
    const image = images.get(frame) ?? view(frame, picture).image;
    images.set(frame, image);
    return { view: "main", picture, image };
  });
}

/** Both views of an image. */
export function imageViews(image: RgbImage, { views }: VisualShape): ExamplePicture[] {
  const main = to(views.enlarged ? to(image, views.enlarged) : image, views.main);
  const low = to(main, views.low as Size);
  return [
    { view: "low", picture: 0, image: low },
    { view: "main", picture: 0, image: main },
  ];
}

/** The view of one frame, by way of the size of the video's first. */
export function frameView(frame: RgbImage, picture: number, first: Size, shape: VisualShape): ExamplePicture {
  const alike = frame.width === first.width && frame.height === first.height ? frame : to(frame, first);
  return { view: "main", picture, image: to(alike, shape.views.main) };
}

const to = (image: RgbImage, { width, height }: Size): RgbImage => resize(image, width, height);
