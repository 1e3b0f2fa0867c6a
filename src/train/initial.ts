import { Random } from "../core/random.ts";
import { isFactor } from "./lora.ts";

/** What parameters are before anything was learnt. */

/**
 * Deviation of a weight that sums over so many inputs: the 0.02 of most language models at a width of 1000, and larger
 * in narrower ones, whose signals would otherwise fade ("small init" of Nguyen and Salazar 2019).
 */
const deviationFor = (inputs: number): number => Math.sqrt(2 / (5 * inputs));

/** How far positions reach into what patches are at first, whose deviation is about 0.4. */
const POSITION_AMPLITUDE = 0.5;

/** Matrices whose products are added to the residual stream. */
const RESIDUAL = /\.(self_attn\.o_proj|mlp\.down_proj|attn\.proj|mlp\.fc2)\.weight$/;
const NORM = /(norm|norm\d|layernorm)\.weight$/;

export interface InitialOptions {
  seed: number;
  /** Blocks of the stack that a parameter stands in, by its name: each adds to the residual stream twice. */
  blocks: (name: string) => number;
}

/**
 * Fills one parameter: norms with ones, biases with zeros, the table of positions with waves, the rest from a normal
 * distribution cut off at two deviations; matrices that add to the residual stream with smaller ones, so that it does
 * not grow with depth. Depends on the seed and the name only, not on what else is filled.
 */
export function fillInitial(
  name: string,
  values: Float32Array,
  shape: readonly number[],
  { seed, blocks }: InitialOptions,
): void {
  if (isFactor(name)) {
    fillFactor(name, values, shape, new Random(seedFor(name, seed)));
  } else if (NORM.test(name)) {
    values.fill(1);
  } else if (name.endsWith(".bias")) {
    values.fill(0);
  } else if (name.endsWith("pos_embed")) {
    fillPositions(values, shape);
  } else if (name.endsWith("patch_embed.proj.weight") && shape[1] === 3) {
    fillPatches(values, shape);
  } else {
    const inputs = shape.slice(1).reduce((a, b) => a * b, 1);
    const scale = RESIDUAL.test(name) ? 1 / Math.sqrt(2 * blocks(name)) : 1;
    const deviation = scale * deviationFor(shape.length > 1 ? inputs : values.length);
    fillNormal(values, deviation, new Random(seedFor(name, seed)));
  }
}

/** The up factor is zero, so that a correction begins with none; the down factor is uniform up to 1 / sqrt(in). */
function fillFactor(name: string, values: Float32Array, shape: readonly number[], random: Random): void {
  const bound = name.endsWith(".lora_B.weight") ? 0 : 1 / Math.sqrt(shape[1] as number);
  for (let i = 0; i < values.length; i++) values[i] = (2 * random.next() - 1) * bound;
}

/**
 * A table of positions [1, side * side, width] as waves of the row and of the column, so that near places are alike
 * from the start (Dosovitskiy et al. 2021, Beyer et al. 2022); it is learnt from there.
 */
function fillPositions(values: Float32Array, shape: readonly number[]): void {
  const [, places, width] = shape as [number, number, number];
  const side = Math.sqrt(places);
  const waves = Math.ceil(width / 4);
  for (let place = 0; place < places; place++) {
    const at = [place % side, Math.floor(place / side)] as const;
    for (let i = 0; i < width; i++) {
      const wave = Math.floor(i / 4);
      const angle = (at[i % 2] as number) / 100 ** (wave / waves);
      values[place * width + i] = POSITION_AMPLITUDE * (i % 4 < 2 ? Math.sin(angle) : Math.cos(angle));
    }
  }
}

/** Brightness, red against blue, green against both: orthogonal, of length 1. */
const TINTS = [
  [1, 1, 1],
  [1, 0, -1],
  [-1, 2, -1],
].map((tint) => tint.map((part) => part / Math.hypot(...tint)));

/** A finer wave counts as brightness does at half its frequency when it is one of colour: eyes and codecs see colours coarsely. */
const TINT_FINENESS = 2;

/** By how much a patch's mean reaches into what becomes of the patch. */
const PATCH_GAIN = 0.15;

/**
 * The embedding of patches [width, 3, side, side] as the waves of a cosine transform, the coarsest first, each louder
 * the finer it is: as pictures have the less of a wave the finer it is, all are about as loud then, and a
 * patch's edges are not drowned in its mean colour, as they are among random numbers.
 */
function fillPatches(values: Float32Array, shape: readonly number[]): void {
  const [width, , height, length] = shape as [number, number, number, number];
  const waves = TINTS.flatMap((tint, i) =>
    Array.from({ length: height * length }, (_, wave) => {
      const [u, v] = [Math.floor(wave / length), wave % length];
      return { tint, u, v, fineness: Math.hypot(u, v) * (i === 0 ? 1 : TINT_FINENESS) + 0.01 * i };
    }),
  ).sort((a, b) => a.fineness - b.fineness || a.u - b.u);
  values.fill(0);
  const cosine = (n: number, at: number, frequency: number) =>
    Math.sqrt((frequency === 0 ? 1 : 2) / n) * Math.cos((Math.PI * (at + 0.5) * frequency) / n);
  for (const [i, { tint, u, v }] of waves.slice(0, width).entries()) {
    const gain = PATCH_GAIN * (1 + Math.hypot(u, v));
    for (let at = 0; at < 3 * height * length; at++) {
      const [y, x] = [Math.floor(at / length) % height, at % length];
      const part = tint[Math.floor(at / (height * length))] as number;
      values[i * 3 * height * length + at] = gain * part * cosine(height, y, u) * cosine(length, x, v);
    }
  }
}

/** Normal numbers by Box and Muller's method, those beyond two deviations drawn again. */
function fillNormal(values: Float32Array, deviation: number, random: Random): void {
  let at = 0;
  while (at < values.length) {
    const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
    const angle = 2 * Math.PI * random.next();
    for (const x of [radius * Math.cos(angle), radius * Math.sin(angle)]) {
      if (Math.abs(x) <= 2 && at < values.length) values[at++] = x * deviation;
    }
  }
}

/** A seed of a name's own: its FNV-1a hash, and the seed above it. */
function seedFor(name: string, seed: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return (hash >>> 0) + (seed % 2 ** 20) * 2 ** 32;
}
