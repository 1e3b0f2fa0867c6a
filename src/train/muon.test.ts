import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Random } from "../core/random.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { Arena, Layout } from "./arena.ts";
import { AdamW, type AdamWOptions, DEFAULT_ADAMW } from "./optimiser.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 2 });
});
afterAll(() => runtime.close());

const WIDE = "model.layers.0.self_attn.o_proj.weight";
const TALL = "model.vision_tower.vision_tower.blocks.3.attn.qkv.weight";
const EMBEDDING = "model.embed_tokens.weight";
const layout = new Layout([
  { name: TALL, part: "tower", shape: [48, 20] },
  { name: EMBEDDING, part: "language", shape: [40, 24] },
  { name: WIDE, part: "language", shape: [24, 36] },
  { name: "model.layers.0.input_layernorm.weight", part: "language", shape: [24] },
]);
const OPTIONS: AdamWOptions = { ...DEFAULT_ADAMW, weightDecay: 0.1, rates: { tower: 0.25 } };
const MUON: AdamWOptions = { ...OPTIONS, muon: true };
const RATE = 0.01;

function drawn(seed: number): Arena {
  const random = new Random(seed);
  const arena = new Arena(layout);
  for (const name of layout.slots.keys()) {
    const { data } = arena.tensor(name);
    for (let i = 0; i < data.length; i++) data[i] = 2 * random.next() - 1;
  }
  return arena;
}

type Matrix = number[][];
const matrixOf = (arena: Arena, name: string): Matrix => {
  const { data, shape } = arena.tensor(name);
  const [rows, columns] = shape as [number, number];
  return Array.from({ length: rows }, (_, i) => [...data.subarray(i * columns, (i + 1) * columns)]);
};
const turned = (x: Matrix): Matrix => (x[0] as number[]).map((_, j) => x.map((row) => row[j] as number));
const product = (x: Matrix, y: Matrix): Matrix => {
  const columns = turned(y);
  return x.map((row) => columns.map((c) => row.reduce((sum, v, k) => sum + v * (c[k] as number), 0)));
};
const plus = (x: Matrix, y: Matrix, a = 1, b = 1): Matrix =>
  x.map((row, i) => row.map((v, j) => a * v + b * (y[i]?.[j] as number)));
const times = (x: Matrix, a: number): Matrix => x.map((row) => row.map((v) => a * v));
const size = (xs: Matrix[]): number => Math.sqrt(xs.flat(2).reduce((sum, v) => sum + v * v, 0));

/** Muon with Nesterov's momentum as its author has it, in double precision: the slower truth. */
function byHand(steps: readonly Arena[], start: Arena, name: string, rate: number): Matrix {
  let p = matrixOf(start, name);
  let mean = times(p, 0);
  for (const gradients of steps) {
    const all = [...layout.slots.keys()].map((each) => [[...gradients.tensor(each).data]]);
    const g = times(matrixOf(gradients, name), Math.min(1, 1 / size(all)));
    mean = plus(mean, g, 0.95);
    let x = plus(g, mean, 1, 0.95);
    x = times(x, 1 / size([x]));
    for (let i = 0; i < 5; i++) {
      const square = product(x, turned(x));
      const mixed = plus(square, product(square, square), -4.775, 2.0315);
      x = plus(x, product(mixed, x), 3.4445);
    }
    const longest = Math.max(p.length, (p[0] as number[]).length);
    p = plus(times(p, 1 - rate * 0.1), x, 1, -rate * 0.2 * Math.sqrt(longest));
  }
  return p;
}

async function train(options: AdamWOptions, steps: readonly Arena[], lanes = 1): Promise<Arena> {
  const parameters = drawn(1);
  const optimiser = await AdamW.load(layout, runtime, options, lanes);
  for (const gradients of steps) await optimiser.update(parameters, gradients, RATE);
  await optimiser.close();
  return parameters;
}

describe("Muon", () => {
  const steps = [drawn(2), drawn(3), drawn(4)];

  it.each([
    ["wide", WIDE, RATE],
    ["tall", TALL, RATE * 0.25],
  ])("takes the steps of a %s matrix that the formula says", async (_, name, rate) => {
    const found = matrixOf(await train(MUON, steps), name);
    const expected = byHand(steps, drawn(1), name, rate);
    expect(size([plus(found, expected, 1, -1)]) / size([expected])).toBeLessThan(1e-5);
  });

  it("steps as far in every direction, however unlike the gradient's singular values are", async () => {
    const step = plus(
      matrixOf(await train(MUON, [drawn(2)]), WIDE),
      matrixOf(drawn(1), WIDE),
      1,
      RATE * 0.1 - 1,
    );
    const unit = times(step, 1 / (RATE * 0.2 * Math.sqrt(36)));
    const random = new Random(9);
    for (let i = 0; i < 20; i++) {
      const direction = [Array.from({ length: 24 }, () => random.next() - 0.5)];
      const length = size([product(direction, unit)]) / size([direction]);
      expect(length).toBeGreaterThan(0.6);
      expect(length).toBeLessThan(1.3);
    }
  });

  it("leaves embeddings and norms to AdamW, to the bit", async () => {
    const [muon, adamw] = [await train(MUON, steps), await train(OPTIONS, steps)];
    for (const name of [EMBEDDING, "model.layers.0.input_layernorm.weight"]) {
      expect(muon.tensor(name).data).toEqual(adamw.tensor(name).data);
    }
    expect(muon.tensor(WIDE).data).not.toEqual(adamw.tensor(WIDE).data);
  });

  it("takes the same steps, to the bit, in however many lanes", async () => {
    expect((await train(MUON, steps, 3)).values).toEqual((await train(MUON, steps, 1)).values);
  });
});
