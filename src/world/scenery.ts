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
