/** How large pictures are encoded, in pixels: what a model was trained with. */
export interface ViewLimits {
  /** An image's main view: its area at most, its overview's area, and what its sides are multiples of. */
  readonly image: { readonly most: number; readonly overview: number; readonly stride: number };
  /** A frame: its area at least and at most, and what its sides are multiples of. */
  readonly video: FrameLimits;
  readonly video_long: FrameLimits;
}

interface FrameLimits {
  readonly least: number;
  readonly most: number;
  readonly stride: number;
}

/** The published models' limits. */
export const PUBLISHED_VIEWS: ViewLimits = {
  image: { most: 1536 ** 2, overview: 384 ** 2, stride: 32 },
  video: { least: 288 ** 2, most: 480 ** 2, stride: 64 },
  video_long: { least: 288 ** 2, most: 480 ** 2, stride: 128 },
};
