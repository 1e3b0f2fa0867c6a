import { beforeAll, describe, expect, it } from "vitest";
import type { TensorData } from "../core/tensor.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { loadFloat32 } from "../weights/files.ts";
import { loadParameters, Parameters } from "./parameters.ts";

let checkpoint: Checkpoint;
beforeAll(async () => {
  checkpoint = await openCheckpoint("test/fixtures/oryx-qwen-tiny");
});

const deviation = (values: Float32Array) =>
  Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);

describe("parameters", () => {
  it("hold every tensor of the checkpoint, in one arena or the other", async () => {
    const parameters = await loadParameters(checkpoint, { trained: ["connector", "lm_head.weight"] });
    const stored = new Map(checkpoint.language);
    for (const [name, t] of checkpoint.vision) stored.set(`model.vision_tower.vision_tower.${name}`, t);
    expect(new Set(parameters.names())).toEqual(new Set(stored.keys()));
    for (const [name, t] of stored) {
      expect(parameters.tensor(name).data).toEqual(await loadFloat32(t));
      const trained = /resampler|mm_projector|lm_head/.test(name);
      expect([parameters.trained.has(name), parameters.frozen.has(name)]).toEqual([trained, !trained]);
    }
  });

  it("need something to train", () => {
    expect(() => new Parameters(checkpoint, { trained: [] })).toThrow(/nothing is trained/);
    expect(() => new Parameters(checkpoint, { trained: ["tower", "conector"] })).toThrow(/"conector"/);
  });

  it("begin as their seed says, whichever of them are trained", () => {
    const drawn = (trained: string[], seed: number) => {
      const parameters = new Parameters(checkpoint, { trained });
      parameters.initialise(seed);
      return parameters;
    };
    const [a, b, c] = [drawn(["tower"], 1), drawn(["language"], 1), drawn(["tower"], 2)];
    const name = "model.layers.0.mlp.up_proj.weight";
    expect(a.tensor(name)).toEqual(b.tensor(name));
    expect(a.tensor(name)).not.toEqual(c.tensor(name));
    expect(a.tensor(name).data).not.toEqual(a.tensor(name.replace("up", "gate")).data);
  });

  it("begin small: norms 1, biases 0, weights normal, smaller where they add to the residual stream", () => {
    const parameters = new Parameters(checkpoint, { trained: ["language"] });
    parameters.initialise(5);
    const { data } = parameters.tensor("model.embed_tokens.weight");
    const { blocks, mlpWidth } = checkpoint.visionShape;
    const small = (inputs: number) => Math.sqrt(2 / (5 * inputs));
    const embedding = small(checkpoint.config.language.hiddenSize);
    expect(Math.max(...data.map(Math.abs))).toBeLessThanOrEqual(2 * embedding);
    // A normal distribution cut off at two deviations has 0.8796 of its deviation left.
    expect(deviation(data) / (0.8796 * embedding)).toBeCloseTo(1, 1);
    const tower = "model.vision_tower.vision_tower.blocks.0";
    const fc2 = parameters.tensor(`${tower}.mlp.fc2.weight`).data;
    expect(deviation(fc2) / (0.8796 * small(mlpWidth))).toBeCloseTo(1 / Math.sqrt(2 * blocks), 1);
    const positions = parameters.tensor(`${tower.replace(".blocks.0", "")}.pos_embed`);
    const [here, right, far] = [0, 1, 100].map((place) => row(positions, place)) as [
      number[],
      number[],
      number[],
    ];
    expect(distance(here, right)).toBeGreaterThan(0.1);
    expect(distance(here, far)).toBeGreaterThan(2 * distance(here, right));
    expect(new Set(parameters.tensor(`${tower}.norm1.weight`).data)).toEqual(new Set([1]));
    expect(new Set(parameters.tensor("model.layers.1.input_layernorm.weight").data)).toEqual(new Set([1]));
    expect(new Set(parameters.tensor("model.layers.1.self_attn.q_proj.bias").data)).toEqual(new Set([0]));
    expect(deviation(parameters.tensor("model.mm_projector.image_newline").data)).toBeGreaterThan(0.01);
  });
});

/** Row of a table [1, rows, width]. */
function row({ data, shape }: TensorData, index: number): number[] {
  const width = shape.at(-1) as number;
  return Array.from(data.slice(index * width, (index + 1) * width), Number);
}

const distance = (a: number[], b: number[]): number => Math.hypot(...a.map((x, i) => x - (b[i] as number)));
