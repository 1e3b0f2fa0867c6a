import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Random } from "../core/random.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { Arena, Layout } from "./arena.ts";
import { AdamW, type AdamWOptions } from "./optimiser.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 2 });
});
afterAll(() => runtime.close());

// Longer than one chunk, so that there is a border within a matrix.
const layout = new Layout([
  { name: "matrix", part: "language", shape: [300, 301] },
  { name: "bias", part: "language", shape: [301] },
  { name: "tower", part: "tower", shape: [7, 9] },
]);
const OPTIONS: AdamWOptions = {
  betas: [0.9, 0.95],
  epsilon: 1e-6,
  weightDecay: 0.1,
  maxGradNorm: 1,
  rates: { tower: 0.25 },
};

function drawn(seed: number, scale: number): Arena {
  const random = new Random(seed);
  const arena = new Arena(layout);
  for (const name of layout.slots.keys()) {
    const { data } = arena.tensor(name);
    for (let i = 0; i < data.length; i++) data[i] = scale * (2 * random.next() - 1);
  }
  return arena;
}

/** AdamW as the paper has it, one number after another in double precision: the slower truth. */
function byHand(
  steps: readonly Arena[],
  start: Arena,
  learningRate: number,
  options: AdamWOptions,
): Map<string, number[]> {
  const [beta1, beta2] = options.betas;
  const p = new Map([...layout.slots.keys()].map((name) => [name, [...start.tensor(name).data]]));
  const moments = new Map([...p].map(([name, x]) => [name, x.map(() => ({ m: 0, v: 0 }))]));
  steps.forEach((gradients, s) => {
    let square = 0;
    for (const name of p.keys()) for (const g of gradients.tensor(name).data) square += g * g;
    const clip = Math.min(1, options.maxGradNorm / Math.sqrt(square));
    for (const [name, x] of p) {
      const decay = name === "bias" ? 0 : options.weightDecay;
      const rate = learningRate * (name === "tower" ? (options.rates?.tower ?? 1) : 1);
      gradients.tensor(name).data.forEach((raw, i) => {
        const moment = moments.get(name)?.[i] as { m: number; v: number };
        const g = raw * clip;
        moment.m = beta1 * moment.m + (1 - beta1) * g;
        moment.v = beta2 * moment.v + (1 - beta2) * g * g;
        const m = moment.m / (1 - beta1 ** (s + 1));
        const v = moment.v / (1 - beta2 ** (s + 1));
        const old = x[i] as number;
        x[i] = old - rate * decay * old - (rate * m) / (Math.sqrt(v) + options.epsilon);
      });
    }
  });
  return p;
}

describe("AdamW over arenas", () => {
  it.each([
    ["clipped", 3],
    ["not clipped", 1e-4],
  ])("takes the steps that the formula says, gradients %s", async (_, scale) => {
    const steps = [2, 3, 4].map((seed) => drawn(seed, scale));
    const parameters = drawn(1, 1);
    const expected = byHand(steps, parameters, 0.01, OPTIONS);
    const optimiser = await AdamW.load(layout, runtime, OPTIONS);
    for (const gradients of steps) await optimiser.update(parameters, gradients, 0.01);
    for (const [name, values] of expected) {
      const { data } = parameters.tensor(name);
      const worst = values.reduce((w, x, i) => Math.max(w, Math.abs(x - (data[i] as number))), 0);
      expect(worst).toBeLessThan(1e-6);
    }
    expect(optimiser.step).toBe(3);
    await optimiser.close();
  });

  it("takes the same steps, to the bit, in however many lanes", async () => {
    const [one, three] = await Promise.all(
      [1, 3].map(async (lanes) => {
        const parameters = drawn(1, 1);
        const optimiser = await AdamW.load(layout, runtime, OPTIONS, lanes);
        const norm = await optimiser.update(parameters, drawn(2, 3), 0.01);
        await optimiser.close();
        return { norm, values: parameters.values };
      }),
    );
    expect(three).toEqual(one);
  });

  it("tells the norm of all gradients, and leaves them as they were", async () => {
    const gradients = drawn(5, 1);
    const before = gradients.values.slice();
    const optimiser = await AdamW.load(layout, runtime, OPTIONS);
    const norm = await optimiser.update(drawn(1, 1), gradients, 0.01);
    expect(norm).toBeCloseTo(Math.sqrt(before.reduce((sum, g) => sum + g * g, 0)), 4);
    expect(gradients.values).toEqual(before);
    await optimiser.close();
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])("changes nothing when a gradient is %d", async (bad) => {
    const [parameters, gradients] = [drawn(1, 1), drawn(2, 1)];
    gradients.tensor("bias").data[3] = bad;
    const before = parameters.values.slice();
    const optimiser = await AdamW.load(layout, runtime, OPTIONS);
    const update = optimiser.update(parameters, gradients, 0.01);
    await expect(update).rejects.toMatchObject({ code: "training_failed" });
    expect(parameters.values).toEqual(before);
    expect(optimiser.step).toBe(0);
    await optimiser.close();
  });

  it.each([{ betas: [1, 0.9] as [number, number] }, { epsilon: 0 }, { weightDecay: -1 }, { maxGradNorm: 0 }])(
    "refuses %o",
    async (bad) => {
      const loading = AdamW.load(layout, runtime, { ...OPTIONS, ...bad });
      await expect(loading).rejects.toMatchObject({ code: "bad_option" });
    },
  );
});
