import { existsSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { elementCount, type FileRange, type StoredTensor } from "../core/tensor.ts";
import { loadDecoder } from "../engine/load.ts";
import type { LanguageConfig } from "../model/config.ts";
import { type ExpectedTensors, expectedLanguageTensors, expectedVisionTensors } from "../weights/expected.ts";
import { fromBfloat16 } from "../weights/floats.ts";
import { configOf } from "./config.ts";
import { languageCost, type StoredAs, storedName, visionCost } from "./cost.ts";
import { llmTable, measureLlm } from "./llm.ts";
import { withRandomModel } from "./loaded.ts";
import { median, Watch } from "./measure.ts";
import { benchOnPaper, paperTable } from "./paper.ts";
import { COMPRESSOR_WIDTH, LANGUAGE_SHAPES, ORYX_VIT } from "./shapes.ts";
import { benchVideo, videoTable } from "./video.ts";
import { bytesStoredAs, RandomWeights, WEIGHT_TYPES, type WeightType } from "./weights.ts";

/** A language model that is measured in no time. */
const SMALL = { hiddenSize: 64, intermediateSize: 96, layers: 2, heads: 4, headDim: 16, vocabSize: 300 };

describe("the published shapes", () => {
  // Parameters as the models' own pages count them.
  const published = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-7b": 7_615_616_512,
    "yi-34b": 34_388_917_248,
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

  it("reads an int4 weight's half byte and its share of a scale", () => {
    const rest = languageCost(language, 1, 0).bytes - 4 * matrices;
    const perWeight = ([32, 64, 128] as const).map(
      (block) => (languageCost(language, 1, 0, { weights: "auto", block }).bytes - rest) / matrices,
    );
    expect(perWeight).toEqual([5 / 8, 4.5 / 8, 4.25 / 8]);
    expect(languageCost(language, 1, 0, { weights: "q4" }).bytes - rest).toBe((5 / 8) * matrices);
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
    ["b.weight", [64]],
    ["input_layernorm.weight", [64]],
  ]);
  const made: RandomWeights[] = [];
  const create = async (expected: ExpectedTensors, weights: WeightType) => {
    const random = await RandomWeights.create(expected, weights);
    made.push(random);
    return random.tensors;
  };
  afterEach(() => {
    for (const random of made.splice(0)) random.remove();
  });

  const bytes = (tensors: ReadonlyMap<string, StoredTensor>, name: string): Uint8Array => {
    const { path, offset, byteLength } = tensors.get(name)!.bytes as FileRange;
    return new Uint8Array(readFileSync(path).subarray(offset, offset + byteLength));
  };
  const floats = (tensors: ReadonlyMap<string, StoredTensor>, name: string) =>
    new Float32Array(bytes(tensors, name).buffer);

  it("are the same every time, spread as a new model's, and norms scale by 1", async () => {
    const tensors = await create(shapes, "f32");
    const a = floats(tensors, "a.weight");
    expect(a).toHaveLength(1_500_000);
    expect(Buffer.from(a.buffer).equals(bytes(await create(shapes, "f32"), "a.weight"))).toBe(true);
    const variance = a.reduce((sum, x) => sum + x * x, 0) / a.length;
    expect(Math.sqrt(variance)).toBeCloseTo(0.02, 4);
    expect(a.reduce((sum, x) => sum + x, 0) / a.length).toBeCloseTo(0, 4);
    expect(new Set(floats(tensors, "input_layernorm.weight"))).toEqual(new Set([1]));
  });

  it("differ from tensor to tensor, and from row to row", async () => {
    const tensors = await create(shapes, "f32");
    const a = floats(tensors, "a.weight");
    expect(floats(tensors, "b.weight").filter((x) => a.subarray(0, 64).includes(x))).toHaveLength(0);
    const rows = new Set(
      Array.from({ length: 1500 }, (_, row) => a.subarray(row * 1000, row * 1000 + 4).join()),
    );
    expect(rows.size).toBe(1500);
  });

  it("are the same in bf16, but for rounding", async () => {
    const a = floats(await create(shapes, "f32"), "a.weight");
    const b = fromBfloat16(new Uint16Array(bytes(await create(shapes, "bf16"), "a.weight").buffer));
    for (let i = 0; i < 1000; i++) expect(Math.abs((b[i] as number) - (a[i] as number))).toBeLessThan(0.0005);
  });

  it("have the same spread in int4 and int8", async () => {
    const name = "model.layers.0.mlp.up_proj.weight";
    const tensors = await create(new Map([[name, [640, 320]]]), "auto");
    const deviation = (values: readonly number[]) =>
      Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    const int4 = bytes(tensors, `${name}.int4`);
    const int4Scales = floats(tensors, `${name}.int4_scales`);
    const four = [...int4].flatMap((byte, i) =>
      [byte & 15, byte >> 4].map((q) => (q - 8) * int4Scales[i >> 4]!),
    );
    expect(four).toHaveLength(640 * 320);
    expect(deviation(four)).toBeCloseTo(0.02, 2);
    const int8Scales = floats(tensors, `${name}.int8_scales`);
    const eight = [...new Int8Array(bytes(tensors, `${name}.int8`).buffer)].map(
      (q, i) => q * int8Scales[i % 640]!,
    );
    expect(deviation(eight)).toBeCloseTo(0.02, 2);
  });

  it("are stored as a conversion would store them", async () => {
    const matrices = new Map([
      ["model.embed_tokens.weight", [320, 64]],
      ["model.layers.0.self_attn.q_proj.weight", [64, 64]],
      ["model.norm.weight", [64]],
    ]);
    const names = async (weights: WeightType) =>
      [...(await create(matrices, weights)).keys()].filter((n) => !n.includes("scales"));
    const layer = "model.layers.0.self_attn.q_proj.weight";
    expect(await names("q4")).toEqual([
      "model.embed_tokens.weight.int4",
      `${layer}.int4`,
      "model.norm.weight",
    ]);
    expect(await names("auto")).toEqual([
      "model.embed_tokens.weight.int4",
      `${layer}.int4`,
      `${layer}.int8`,
      "model.norm.weight",
    ]);
    expect(await names("w8")).toEqual([
      "model.embed_tokens.weight",
      `${layer}.int8`,
      "model.norm.weight",
      "lm_head.weight.int8",
    ]);
  });

  it("have blocks of the size that was asked for, or that fits", async () => {
    const matrices = new Map([
      ["model.layers.0.mlp.up_proj.weight", [8, 256]],
      ["model.layers.0.mlp.down_proj.weight", [8, 192]],
      ["model.layers.0.self_attn.q_proj.weight", [8, 80]],
    ]);
    const random = await RandomWeights.create(matrices, "q4", 128);
    made.push(random);
    const shapes = [...random.tensors].map(([name, { shape }]) => [
      name.replace(/^.*\.(\w+)\.weight/, "$1"),
      shape,
    ]);
    expect(shapes).toEqual([
      ["up_proj.int4", [8, 2, 64]],
      ["up_proj.int4_scales", [8, 2]],
      ["down_proj.int4", [8, 3, 32]],
      ["down_proj.int4_scales", [8, 3]],
      ["q_proj.int8", [80, 8]],
      ["q_proj.int8_scales", [8]],
    ]);
    await expect(RandomWeights.create(matrices, "bf16", 64)).rejects.toMatchObject({ code: "bad_option" });
  });

  it("take as many bytes as was foretold", async () => {
    const { language } = configOf("qwen2.5-0.5b");
    const expected = expectedLanguageTensors(
      { ...configOf("qwen2.5-0.5b"), language: { ...language, ...SMALL } },
      8,
    );
    for (const weights of WEIGHT_TYPES) {
      const tensors = await create(expected, weights);
      const sum = [...tensors.values()].reduce((n, t) => n + t.bytes.byteLength, 0);
      expect(bytesStoredAs(expected, weights)).toBe(sum);
    }
  });

  it("leave nothing behind", async () => {
    const random = await RandomWeights.create(shapes, "f32");
    const { path } = random.tensors.get("a.weight")!.bytes as FileRange;
    expect(existsSync(path)).toBe(true);
    random.remove();
    random.remove();
    expect(existsSync(dirname(path))).toBe(false);
  });

  it("are refused when the machine could not hold them", async () => {
    const huge = new Map([["a", [1e6, 1e6]]]);
    await expect(RandomWeights.create(huge, "bf16")).rejects.toMatchObject({ code: "bad_option" });
  });
});

describe("a shape on paper", () => {
  it("has the bytes of its parameters", () => {
    const report = benchOnPaper("yi-34b", [512], [8192]);
    expect(report.parameters).toBe(34_388_917_248);
    expect(report.bytes.bf16 / report.parameters).toBeCloseTo(2, 2);
    expect(report.bytes.q4 / report.parameters).toBeCloseTo(0.625, 2);
    expect(report.cacheBytesPerToken).toBe(60 * 2 * 8 * 128 * 4);
    expect(benchOnPaper("yi-34b", [], [], 128).bytes.q4 / report.parameters).toBeCloseTo(0.531, 2);
    expect(paperTable(report)).toContain("34.39 G parameters");
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
});

describe("a benchmark of a language model", () => {
  it.each([{ weights: "bf16" }, { weights: "auto" }, { weights: "auto", block: 64 }] as StoredAs[])(
    "measures every setting that was asked for, with weights %o",
    async (stored) => {
      const full = configOf("qwen2.5-0.5b");
      const config: LanguageConfig = { ...full.language, ...SMALL };
      const expected = expectedLanguageTensors({ ...full, language: config }, 8);
      const steps: string[] = [];
      const measures = { prompts: [5, 70], slots: [64, 256], contexts: [32, 200], steps: 3 };
      const onStep = (step: string) => steps.push(step);
      const figures = await withRandomModel(
        expected,
        { ...stored, onStep },
        (runtime, language) => loadDecoder(runtime, { config, language }),
        ({ model }) => measureLlm(model, { ...measures, ...stored, onStep }),
      );
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
        ...stored,
        device: "cpu",
        loadMs: 1,
        ...figures,
      });
      expect(table).toContain(`random ${storedName(stored)} weights`);
      expect(table).toMatch(/decode with 256 slots runs at \d+\.\d\d times the speed with 64/);
      expect(table).toMatch(/decode with 200 tokens cached runs at \d+\.\d\d times the speed with 32/);
    },
  );
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
