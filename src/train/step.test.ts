import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Example, IGNORED } from "../data/example.ts";
import { estimateStage } from "../recipe/estimate.ts";
import { costOf } from "../recipe/plan.ts";
import type { Stage } from "../recipe/schema.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { readExamples } from "../verify/train.ts";
import { readTrainCases } from "../verify/train-cases.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import type { Arena } from "./arena.ts";
import { loadParameters, type Parameters, type Training } from "./parameters.ts";
import { Trainer, type TrainerOptions } from "./step.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const ALL = ["tower", "connector", "language"];

let runtime: Runtime;
let checkpoint: Checkpoint;
let examples: Example[];
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
  checkpoint = await openCheckpoint(GOLDEN);
  const two = await readExamples(checkpoint, (await readTrainCases(GOLDEN)).samples);
  examples = [
    ...two,
    ...two.map((e) => ({ ...e, prompt: e.prompt.slice(0, -6), labels: e.labels.slice(0, -6) })),
  ];
});
afterAll(() => runtime.close());

/** Does `use` with a trainer of the reference model. */
async function training<T>(
  chosen: Training,
  use: (trainer: Trainer, parameters: Parameters) => Promise<T>,
  options: TrainerOptions & { runtime?: Runtime } = {},
): Promise<T> {
  const parameters = await loadParameters(checkpoint, chosen);
  const trainer = await Trainer.load(parameters, options.runtime ?? runtime, options);
  try {
    return await use(trainer, parameters);
  } finally {
    await trainer.close();
  }
}

const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

/** Norm of the difference over the norm. */
function relative(actual: Arena, expected: Float32Array): number {
  return norm(actual.values.map((x, i) => x - (expected[i] as number))) / norm(expected);
}

const stepped = (chosen: Training, steps: number, options: TrainerOptions & { runtime?: Runtime } = {}) =>
  training(
    chosen,
    async (trainer, { trained, frozen }) => {
      const losses: number[] = [];
      for (let i = 0; i < steps; i++) {
        losses.push((await trainer.gradients(examples)).loss);
        await trainer.update(1e-3);
      }
      return { losses, trained: trained.values, frozen: frozen.values };
    },
    options,
  );

type Visual = Example["visuals"][number];

/** A video that shows its first frame all the time. */
function standingStill(visual: Visual): Visual {
  const { shape, pictures } = visual;
  const first = pictures[0]?.image;
  if (shape.modality === "image" || first === undefined) return visual;
  return { ...visual, pictures: pictures.map((p) => ({ ...p, image: first })) };
}

/** The same example, with pictures of its own for every frame. */
const apart = (example: Example): Example => ({
  ...example,
  visuals: example.visuals.map((v) => ({ ...v, pictures: v.pictures.map((p) => structuredClone(p)) })),
});

describe("a training step", () => {
  it.each(ALL)("has for the %s the gradient that the loss really has", async (part) => {
    await training({ trained: [part] }, async (trainer, { trained }) => {
      const { loss } = await trainer.gradients(examples);
      const gradient = trainer.gradientArena.values.slice();
      const slope = norm(gradient);
      const step = 0.02 / slope; // a change of the loss that is well above what f32 rounds away
      const start = trained.values.slice();
      const lossAt = async (t: number) => {
        for (let i = 0; i < start.length; i++) {
          trained.values[i] = (start[i] as number) + (t * (gradient[i] as number)) / slope;
        }
        return (await trainer.loss(examples)).loss;
      };
      expect(await lossAt(0)).toBeCloseTo(loss, 5);
      const measured = ((await lossAt(step)) - (await lossAt(-step))) / (2 * step);
      expect(Math.abs(measured / slope - 1)).toBeLessThan(2e-3);
    });
  });

  it("gives the same bits every time, with two threads", async () => {
    const two = await createNodeRuntime({ threads: 2 });
    const options = { runtime: two };
    const [a, b] = [await stepped({ trained: ALL }, 2, options), await stepped({ trained: ALL }, 2, options)];
    await two.close();
    expect(a.losses).toEqual(b.losses);
    expect(Buffer.from(a.trained.buffer).equals(Buffer.from(b.trained.buffer))).toBe(true);
  });

  it("gives the same bits however fast its lanes are", async () => {
    const options = { lanes: 2, tokensPerRun: 150, patchesPerRun: 100 };
    const [a, b] = [await stepped({ trained: ALL }, 2, options), await stepped({ trained: ALL }, 2, options)];
    const one = await stepped({ trained: ALL }, 2, { ...options, lanes: 1 });
    expect(a.losses).toEqual(b.losses);
    expect(Buffer.from(a.trained.buffer).equals(Buffer.from(b.trained.buffer))).toBe(true);
    expect(one.losses[1]).toBeCloseTo(a.losses[1] as number, 5);
  });

  it("leaves what is frozen as it was, bit for bit", async () => {
    const before = (await loadParameters(checkpoint, { trained: ["connector"] })).frozen.values;
    const { frozen, losses } = await stepped({ trained: ["connector"] }, 3);
    expect(Buffer.from(frozen.buffer).equals(Buffer.from(before.buffer))).toBe(true);
    expect(losses[2]).toBeLessThan(losses[0] as number);
  });

  it("encodes once what several frames and examples show, with the same loss and gradients", async () => {
    const still = examples.map((e) => ({ ...e, visuals: e.visuals.map(standingStill) }));
    const [once, each] = await Promise.all(
      [still, still.map(apart)].map((shown) =>
        training({ trained: ALL }, async (trainer) => {
          const { loss } = await trainer.gradients(shown);
          return { loss, gradients: trainer.gradientArena, flops: trainer.profile.flops };
        }),
      ),
    );
    if (once === undefined || each === undefined) throw new Error("two were trained");
    expect(once.loss).toBeCloseTo(each.loss, 6);
    expect(relative(once.gradients, each.gradients.values)).toBeLessThan(1e-5);
    expect(once.flops).toBeLessThan(0.8 * each.flops);
  });

  it.each<[string, Training]>([
    ["everything", { trained: ALL }],
    ["the connector", { trained: ["connector"] }],
    ["the language model", { trained: ["language"] }],
    ["corrections of the language model", { trained: ["connector"], lora: { rank: 2, alpha: 2 } }],
  ])("computes what a plan says where %s is learnt", async (_, chosen) => {
    const example = examples[0] as Example;
    const stage = { train: chosen.trained, lora: chosen.lora, batch: 1, maxTokens: 4096, microTokens: 4096 };
    const one = { stage: stage as unknown as Stage, model: checkpoint, examples: 1, steps: 1 };
    const machine = { count: 1, lanes: 1, operationsPerSecond: undefined };
    const { operations } = estimateStage({ ...one, example: costOf(example) }, machine);
    const flops = await training(
      chosen,
      async (trainer) => {
        await trainer.gradients([example]);
        return trainer.profile.flops;
      },
      { tokensPerRun: 4096 },
    );
    // A plan takes all pictures for as large as they are on average, so larger ones' attention is more than it says;
    // and it knows nothing of the places by which sequences are padded.
    expect(flops / operations).toBeGreaterThan(1);
    expect(flops / operations).toBeLessThan(1.2);
  });

  it("names visual tokens past all layers, with the loss of their rows alone", async () => {
    const [example] = examples as [Example];
    const visual = example.prompt.findIndex((token) => typeof token !== "number");
    const words = [...Array(40).keys()].map((i) => 3 * i);
    const named: Example = {
      ...example,
      labels: example.labels.map(() => IGNORED),
      rowLabels: example.prompt.map((_, i) => (i === visual ? Int32Array.from(words) : undefined)),
    };
    const label = (row: number) => ({
      ...named,
      rowLabels: (named.rowLabels ?? []).map((of) => of?.map((id, i) => (i === row ? id : IGNORED))),
    });
    await training(
      { trained: ["connector"] },
      async (trainer) => {
        const all = await trainer.gradients([named]);
        const slope = norm(trainer.gradientArena.values);
        let sum = 0;
        for (const row of words.keys()) sum += (await trainer.loss([label(row)])).loss;
        expect(all.labels).toBe(words.length);
        expect(all.loss).toBeCloseTo(sum / words.length, 4);
        expect(slope).toBeGreaterThan(0);
        // What stands before a visual token is not looked at.
        const alone = { ...named, prompt: named.prompt.slice(visual, visual + 1) };
        const rowLabels = named.rowLabels?.slice(visual, visual + 1);
        const same = await trainer.loss([{ ...alone, labels: [IGNORED], rowLabels: rowLabels ?? [] }]);
        expect(same.loss).toBeCloseTo(all.loss, 5);
      },
      { layers: 0 },
    );
  });

  it("is the same in small runs as in large ones", async () => {
    const whole = await training({ trained: ALL }, async (trainer) => {
      const found = await trainer.gradients(examples);
      return { ...found, values: trainer.gradientArena.values.slice() };
    });
    for (const limit of [1, 300]) {
      const options = { tokensPerRun: limit, patchesPerRun: limit, lanes: limit === 1 ? 3 : 1 };
      await training(
        { trained: ALL },
        async (trainer) => {
          const { loss, labels, tokens } = await trainer.gradients(examples);
          expect(Math.abs(loss / whole.loss - 1)).toBeLessThan(1e-6);
          expect([labels, tokens]).toEqual([whole.labels, whole.tokens]);
          expect(relative(trainer.gradientArena, whole.values)).toBeLessThan(2e-6);
        },
        options,
      );
    }
  });

  it("adds up over calls that share one count of labels", async () => {
    await training({ trained: ["connector", "language"] }, async (trainer) => {
      const whole = await trainer.gradients(examples);
      const expected = trainer.gradientArena.values.slice();
      await trainer.update(0);
      expect(norm(trainer.gradientArena.values)).toBe(0);
      const { labels } = whole;
      const first = await trainer.gradients(examples.slice(0, 1), { labels });
      const rest = await trainer.gradients(examples.slice(1), { labels });
      expect(first.loss + rest.loss).toBeCloseTo(whole.loss, 5);
      expect(first.labels + rest.labels).toBe(labels);
      expect(relative(trainer.gradientArena, expected)).toBeLessThan(2e-6);
    });
  });

  it("ends when it is aborted, and keeps no half of a gradient", async () => {
    await training({ trained: ["language"] }, async (trainer) => {
      await trainer.gradients(examples);
      expect(norm(trainer.gradientArena.values)).toBeGreaterThan(0);
      const signal = AbortSignal.abort();
      await expect(trainer.gradients(examples, { signal })).rejects.toMatchObject({ code: "aborted" });
      expect(norm(trainer.gradientArena.values)).toBe(0);
    });
  });

  it("says so when the loss is no number", async () => {
    await training({ trained: ["language"] }, async (trainer, parameters) => {
      parameters.tensor("model.norm.weight").data[0] = Number.NaN;
      await expect(trainer.gradients(examples)).rejects.toMatchObject({ code: "training_failed" });
    });
  });

  it("learns nothing from examples without labels", async () => {
    await training({ trained: ["language"] }, async (trainer) => {
      const mute = examples.map((e) => ({ ...e, labels: e.labels.map(() => -100) }));
      expect(await trainer.gradients(mute)).toMatchObject({ loss: 0, labels: 0 });
      expect((await trainer.update(1)).gradNorm).toBe(0);
    });
  });
});

describe("LoRA", () => {
  const lora = { rank: 4, alpha: 16 };

  it("begins with the base model's loss, and learns with the base frozen", async () => {
    const base = await training({ trained: ["connector"] }, (trainer) => trainer.loss(examples));
    const { losses, trained } = await stepped({ trained: ["connector"], lora }, 3);
    expect(losses[0]).toBeCloseTo(base.loss, 5);
    expect(losses[2]).toBeLessThan(losses[0] as number);
    expect(norm(trained)).toBeGreaterThan(0);
  });

  it("gives the same loss once it is merged into the matrices", async () => {
    await training({ trained: [], lora }, async (trainer, parameters) => {
      for (let i = 0; i < 3; i++) {
        await trainer.gradients(examples);
        await trainer.update(1e-2);
      }
      const { loss } = await trainer.loss(examples);
      await training({ trained: ["language"] }, async (plain, merged) => {
        const before = (await plain.loss(examples)).loss;
        for await (const [name, { data }] of parameters.merged(runtime)) merged.tensor(name).data.set(data);
        expect((await plain.loss(examples)).loss).toBeCloseTo(loss, 4);
        expect(Math.abs(before - loss)).toBeGreaterThan(0.1);
      });
    });
  });

  it.each([{ rank: 0 }, { rank: 1.5 }, { alpha: 0 }])("refuses %o", async (bad) => {
    const loading = loadParameters(checkpoint, { trained: [], lora: { ...lora, ...bad } });
    await expect(loading).rejects.toMatchObject({ code: "bad_option" });
  });
});
