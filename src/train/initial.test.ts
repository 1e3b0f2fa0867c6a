import { describe, expect, it } from "vitest";
import { fillInitial } from "./initial.ts";

const options = { seed: 1, blocks: () => 4 };

describe("the first embedding of patches", () => {
  const [width, side] = [192, 16];
  const weights = new Float32Array(width * 3 * side * side);
  fillInitial("patch_embed.proj.weight", weights, [width, 3, side, side], options);
  const row = (i: number) => weights.subarray(i * 3 * side * side, (i + 1) * 3 * side * side);
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
    return sum;
  };
  /** A patch [3, side, side] whose pixels follow from where they are. */
  const patch = (colour: (x: number, y: number) => readonly number[]): number[] =>
    [0, 1, 2].flatMap((c) =>
      Array.from({ length: side * side }, (_, i) => colour(i % side, Math.floor(i / side))[c] as number),
    );
  const seen = (pixels: number[]) => Array.from({ length: width }, (_, i) => dot(row(i), pixels));

  it("is made of waves that have nothing in common, the finer ones louder", () => {
    for (let i = 0; i < width; i++) {
      for (let j = 0; j < i; j++) expect(Math.abs(dot(row(i), row(j)))).toBeLessThan(1e-5);
    }
    const loudness = Array.from({ length: width }, (_, i) => Math.sqrt(dot(row(i), row(i))));
    expect(loudness[0]).toBeCloseTo(0.15, 5);
    expect(Math.max(...loudness)).toBeGreaterThan(10 * 0.15);
  });

  it("sees of a flat patch its brightness and two shades, and of an edge more than of brightness", () => {
    const flat = seen(patch(() => [0.9, -0.2, 0.4])).filter((v) => Math.abs(v) > 1e-4);
    expect(flat).toHaveLength(3);
    const edge = seen(patch((x) => (x < 8 ? [1, 1, 1] : [-1, -1, -1])));
    expect(Math.abs(edge[0] as number)).toBeLessThan(1e-4);
    const grey = seen(patch(() => [1, 1, 1]));
    expect(Math.hypot(...edge)).toBeGreaterThan(Math.hypot(...grey));
  });

  it("tells red, green and blue apart", () => {
    const [red, green, blue] = [0, 1, 2].map((c) =>
      seen(patch(() => [0, 1, 2].map((k) => (k === c ? 1 : -1)))),
    );
    const apart = (p: number[] = [], q: number[] = []) =>
      Math.hypot(...p.map((v, i) => v - (q[i] as number)));
    for (const [p, q] of [
      [red, green],
      [red, blue],
      [green, blue],
    ])
      expect(apart(p, q)).toBeGreaterThan(2);
  });
});
