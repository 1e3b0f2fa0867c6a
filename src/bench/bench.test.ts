import { describe, expect, it } from "vitest";
import { elementCount } from "../core/tensor.ts";
import { loadDecoder } from "../engine/load.ts";
import type { LanguageConfig } from "../model/config.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import { expectedLanguageTensors, expectedVisionTensors } from "../weights/expected.ts";
import { fromBfloat16 } from "../weights/floats.ts";
import { configOf } from "./config.ts";
import { languageCost, visionCost } from "./cost.ts";
import { llmTable, measureLlm } from "./llm.ts";
import { aligned, median, Watch } from "./measure.ts";
import { COMPRESSOR_WIDTH, LANGUAGE_SHAPES, ORYX_VIT } from "./shapes.ts";
import { benchVideo, videoTable } from "./video.ts";
import { randomTensors } from "./weights.ts";

describe("the published shapes", () => {
  // Parameters as the models' own pages count them.
  const published = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-7b": 7_615_616_512,
  };

  it.each(LANGUAGE_SHAPES)("%s has as many parameters as the published model", (shape) => {
    const tensors = expectedLanguageTensors(configOf(shape), COMPRESSOR_WIDTH);
    const language = [...tensors].filter(([name]) => !/vision_resampler|mm_projector/.test(name));
    expect(language.reduce((sum, [, dims]) => sum + elementCount(dims), 0)).toBe(published[shape]);
  });
});

describe("what a step costs", () => {
  const { language } = configOf("qwen2.5-0.5b");
  const norms = 49 * 896;
  const biases = 24 * (896 + 128 + 128);
  const matrices = 494_032_768 - norms - biases;

  it("reads every matrix once, and the keys and values of every token", () => {
    const perToken = 24 * 2 * 2 * 64 * 4;
    expect(languageCost(language, 1, 0).bytes).toBe(4 * matrices + perToken);
    expect(languageCost(language, 1, 4096).bytes).toBe(4 * matrices + 4097 * perToken);
  });

  it("multiplies a prompt as its tokens one by one, but needs the head only once", () => {
    const head = 2 * 896 * 151_936;
    const oneByOne = [0, 1, 2, 3, 4].map((cached) => languageCost(language, 1, cached).operations);
    const sum = oneByOne.reduce((a, b) => a + b);
    expect(languageCost(language, 5, 0).operations).toBe(sum - 4 * head);
  });

  it("of a picture is that of its matrices for each patch, and grows with the square in attention", () => {
    const tensors = expectedVisionTensors(ORYX_VIT);
    const products = [...tensors].filter(([name]) => /(qkv|proj|fc\d)\.weight$/.test(name));
    const weights = products.reduce((sum, [, shape]) => sum + elementCount(shape), 0);
    const one = visionCost(ORYX_VIT, 1).operations;
    expect(one).toBe(2 * weights + 4 * 27 * 1152);
    expect(visionCost(ORYX_VIT, 10).operations - 10 * one).toBe(4 * 27 * 1152 * (100 - 10));
  });
});

describe("random weights", () => {
  const shapes = new Map([
    ["a.weight", [1500, 1000]],
    ["input_layernorm.weight", [64]],
  ]);
  const values = (bytes: unknown) => new Float32Array((bytes as Uint8Array).slice().buffer);

  it("are the same every time, spread as a new model's, and norms scale by 1", () => {
    const tensors = randomTensors(shapes, "f32");
    const a = values(tensors.get("a.weight")?.bytes);
    expect(a).toHaveLength(1_500_000);
    expect(a.subarray(0, 100_000)).toEqual(
      values(randomTensors(shapes, "f32").get("a.weight")?.bytes).subarray(0, 100_000),
    );
    const variance = a.reduce((sum, x) => sum + x * x, 0) / a.length;
    expect(Math.sqrt(variance)).toBeCloseTo(0.02, 4);
    expect(a.reduce((sum, x) => sum + x, 0) / a.length).toBeCloseTo(0, 4);
    expect(new Set(values(tensors.get("input_layernorm.weight")?.bytes))).toEqual(new Set([1]));
  });

  it("differ from tensor to tensor", () => {
    const tensors = randomTensors(
      new Map([
        ["a", [64]],
        ["b", [64]],
      ]),
      "f32",
    );
    const [a, b] = [values(tensors.get("a")?.bytes), values(tensors.get("b")?.bytes)];
    expect(a.filter((x) => b.includes(x))).toHaveLength(0);
  });

  it("do not repeat from row to row", () => {
    const a = values(randomTensors(shapes, "f32").get("a.weight")?.bytes);
    const rows = new Set(
      Array.from({ length: 1500 }, (_, row) => a.subarray(row * 1000, row * 1000 + 4).join()),
    );
    expect(rows.size).toBe(1500);
  });

  it("are the same in bf16, but for rounding", () => {
    const a = values(randomTensors(shapes, "f32").get("a.weight")?.bytes);
    const bytes = randomTensors(shapes, "bf16").get("a.weight")?.bytes as Uint8Array;
    const b = fromBfloat16(new Uint16Array(bytes.slice().buffer));
    for (let i = 0; i < 1000; i++) expect(Math.abs((b[i] as number) - (a[i] as number))).toBeLessThan(0.0005);
  });

  it("are refused when the machine could not hold them", () => {
    const huge = new Map([["a", [1e6, 1e6]]]);
    expect(() => randomTensors(huge, "bf16")).toThrow(expect.objectContaining({ code: "bad_option" }));
  });
});

describe("measuring", () => {
  it("takes the middle of the times", () => {
    expect(median([5, 1, 100])).toBe(5);
    expect(median([4, 1, 100, 2])).toBe(3);
  });

  it("sees a blocked event loop", async () => {
    const watch = new Watch();
    await watch.timed(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      for (const end = performance.now() + 80; performance.now() < end; );
      await new Promise((resolve) => setTimeout(resolve, 20));
    });
    expect(watch.report().longestBlockMs).toBeGreaterThan(60);
  });

  it("aligns columns", () => {
    expect(
      aligned([
        ["a", "1.5"],
        ["bcd", "10.25", "x"],
      ]),
    ).toBe("a      1.5\nbcd  10.25  x");
  });
});

describe("a benchmark of a language model", () => {
  it("measures every setting that was asked for, and leaves the fillings as they were", async () => {
    const { language: published } = configOf("qwen2.5-0.5b");
    const small = { hiddenSize: 64, intermediateSize: 96, layers: 2, heads: 4, headDim: 16, vocabSize: 300 };
    const config: LanguageConfig = { ...published, ...small };
    const shapes = expectedLanguageTensors({ ...configOf("qwen2.5-0.5b"), language: config }, 8);
    const runtime = await createNodeRuntime();
    try {
      const decoder = await loadDecoder(runtime, { config, language: randomTensors(shapes, "bf16") });
      const steps: string[] = [];
      const onStep = (step: string) => steps.push(step);
      const figures = await measureLlm(decoder, {
        prompts: [5, 70],
        slots: [64, 256],
        contexts: [32, 200],
        steps: 3,
        onStep,
      });
      expect(figures.prefill.map((p) => p.tokens)).toEqual([5, 70]);
      expect(figures.slots.map((d) => [d.filled, d.capacity])).toEqual([
        [56, 64],
        [56, 256],
      ]);
      expect(figures.contexts.map((d) => [d.filled, d.capacity])).toEqual([
        [32, 208],
        [200, 208],
      ]);
      for (const { tokenMs, tokensPerSecond } of [...figures.slots, ...figures.contexts]) {
        expect(tokenMs * tokensPerSecond).toBeCloseTo(1000);
      }
      expect(steps).toContain("decode, step 3 of 3");
      const table = llmTable({
        bench: "llm",
        shape: "qwen2.5-0.5b",
        weights: "bf16",
        device: "cpu",
        loadMs: 1,
        ...figures,
      });
      expect(table).toMatch(/decode with 256 slots runs at \d+\.\d\d times the speed with 64/);
      expect(table).toMatch(/decode with 200 tokens cached runs at \d+\.\d\d times the speed with 32/);
    } finally {
      await runtime.close();
    }
  });
});

describe("a benchmark of a video", () => {
  it("decodes the frames that a question would see", async () => {
    const report = await benchVideo({ file: "test/fixtures/videos/h264-bframes.mp4", maxFrames: 4 });
    expect(report).toMatchObject({ codec: expect.stringContaining("h264"), frames: 4 });
    expect(report.rgbBytes).toBe(4 * 3 * report.size.width * report.size.height);
    expect(videoTable(report)).toContain("4 frames at ");
  });

  it("refuses an image", async () => {
    const file = "test/fixtures/oryx-qwen-tiny/media/image.png";
    await expect(benchVideo({ file, maxFrames: 4 })).rejects.toMatchObject({ code: "bad_option" });
  });
});
