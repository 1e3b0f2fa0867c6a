import {
  COLOURS,
  type Colour,
  ICONS,
  type Icon,
  MOTIONS,
  type Motion,
  NUMBERS,
  PLACES,
  type Place,
  SHAPES,
  type Shape,
  WORDS,
} from "./language.ts";

/**
 * Which combinations training never sees: about a tenth of each table, spread so that everything in it still occurs
 * in training with most of its partners. A model that answers about them has learnt the parts, not the pairs.
 */

/** One of the ten diagonals of a table. The step is prime to ten, so no row or column of up to ten is emptied. */
const onDiagonal = (row: number, column: number, diagonal: number): boolean =>
  (3 * row + column) % 10 === diagonal;

/** A red star, … */
export const heldOutObject = (colour: Colour, shape: Shape): boolean =>
  onDiagonal(COLOURS.indexOf(colour), SHAPES.indexOf(shape), 0);

/** A star that moves left, … */
export const heldOutMotion = (motion: Motion, shape: Shape): boolean =>
  onDiagonal(MOTIONS.indexOf(motion), SHAPES.indexOf(shape), 5);

/** MAP at the top, … */
export const heldOutText = (text: string, place: Place): boolean =>
  onDiagonal(textNumber(text), 7 * PLACES.indexOf(place), 0);

/** MAP on a red card, … */
export const heldOutCard = (text: string, colour: Colour): boolean =>
  onDiagonal(textNumber(text), 7 * COLOURS.indexOf(colour), 4);

/** A step with Mail right after one with Lock, … */
export const heldOutSteps = (one: Icon, next: Icon): boolean =>
  onDiagonal(ICONS.indexOf(one), ICONS.indexOf(next), 1);

const textNumber = (text: string): number => (/\d/.test(text) ? NUMBERS.indexOf(text) : WORDS.indexOf(text));
