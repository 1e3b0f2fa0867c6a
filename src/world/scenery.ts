import type { Size } from "../core/size.ts";
import type { Thing } from "./language.ts";

/** Pictures before their pixels. */
export interface Scenery {
  /** Of each picture, at scale 1. */
  size: Size;
  /** Marks of each picture; the same string where nothing changes. */
  pictures: readonly string[];
  /** Levels by which pixels differ at random, at most. */
  noise: number;
  /** Where things stand. */
  shown: readonly Shown[];
  /** What is to be named where, by the words of its answer; of pages alone. */
  named?: readonly Named[];
}

/** Words for what stands on a rectangle of a picture, by its middle, in shares of the picture's sides. */
export interface Named {
  picture: number;
  x: number;
  y: number;
  width: number;
  height: number;
  /** Two, alike where there is one: a colour and a shape, the digits of a number, a word. */
  words: readonly [string, string];
}

/** A middle and a size, in pixels at scale 1. */
export interface Spot {
  x: number;
  y: number;
  /** Of an object: its side. Of a text: the height of its capitals, at least. */
  size: number;
}

/** A thing on a picture. */
export interface Shown extends Spot {
  picture: number;
  thing: Thing;
}
