import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { graph, int, ints, model, node, value, weight } from "../../../test/support/tiny-onnx.ts";
import type { OryxError } from "../../core/errors.ts";
import type { TensorData } from "../../core/tensor.ts";
import { loadDecoder, storedParams } from "../../engine/load.ts";
import { argmax } from "../../engine/sampler.ts";
import { languageGraph, visionGraph } from "../../model/oryx.ts";
import { emitOnnx } from "../../onnx/emit.ts";
import { ModelProtoSchema } from "../../onnx/onnx_pb.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import type { Runtime, RuntimeModel } from "../session.ts";
import { createNodeRuntime } from "./runtime.ts";
import { ATTENTION_PROBE, adaptToWebGpu, attends, CACHE_PROBE, tokensAttended } from "./webgpu.ts";

const qwenTiny = fileURLToPath(new URL("../../../test/fixtures/oryx-qwen-tiny", import.meta.url));

/** Numbers between -1 and 1 that look like nothing in particular. */
const noise = (shape: number[], seed = 0): TensorData => ({
  dtype: "f32",
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin((i + seed) ** 2)),
});

const integers = (values: readonly number[]): TensorData => ({
  dtype: "i64",
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

/** Norm of the difference over norm. */
function relativeError(actual: TensorData, expected: TensorData): number {
  expect(actual.shape).toEqual(expected.shape);
  let [difference, norm] = [0, 0];
  for (const [i, value] of expected.data.entries()) {
    difference += (Number(actual.data[i]) - Number(value)) ** 2;
    norm += Number(value) ** 2;
  }
  return Math.sqrt(difference / norm);
}

async function compute(
  runtime: Runtime,
  loadable: RuntimeModel,
  inputs: Record<string, TensorData>,
  outputs: readonly string[],
): Promise<Record<string, TensorData>> {
  const session = await runtime.load(loadable);
  try {
    return await session.run(inputs, Object.fromEntries(outputs.map((name) => [name, "fresh"] as const)));
  } finally {
    await session.close();
  }
}

const bare = (onnx: Uint8Array): RuntimeModel => ({ onnx, weights: new Map() });

const attention = model(
  graph(
    [node("MultiHeadAttention", ["q", "k", "v"], ["y"], [int("num_heads", 3)], "com.microsoft")],
    ["q", "k", "v"].map((name) => value(name, ["n", "length", 12])),
    [value("y", ["n", "length", 12])],
  ),
);

const angles = model(
  graph(
    [
      node("Cast", ["positions"], ["wide"], [int("to", 1)]),
      node("Mul", ["wide", "frequency"], ["angle"]),
      node("Sin", ["angle"], ["sine"]),
      node("Add", ["x", "sine"], ["y"]),
    ].map((n) => ({ ...n, name: n.output[0] as string })),
    [value("positions", ["n"], "INT64"), value("frequency", [1]), value("x", ["n"])],
    [value("y", ["n"])],
  ),
);

describe("a model for the GPU", () => {
  let cpu: Runtime;
  beforeAll(async () => {
    cpu = await createNodeRuntime();
  });
  afterAll(() => cpu.close());

  it("has its sines, and what they are computed from, on the CPU", async () => {
    const adapted = await adaptToWebGpu(fromBinary(ModelProtoSchema, angles), async () => true);
    expect([...adapted.cpuNodes].sort()).toEqual(["angle", "sine", "wide"]);
  });

  it("keeps its attention where the device computes it rightly", async () => {
    const adapted = await adaptToWebGpu(fromBinary(ModelProtoSchema, attention), async () => true);
    expect(fromBinary(ModelProtoSchema, adapted.onnx)).toEqual(fromBinary(ModelProtoSchema, attention));
  });

  it("has the same attention in ordinary operations elsewhere", async () => {
    const plain = await adaptToWebGpu(fromBinary(ModelProtoSchema, attention), async () => false);
    const operations = fromBinary(ModelProtoSchema, plain.onnx).graph?.node.map((n) => n.opType);
    expect(operations).not.toContain("MultiHeadAttention");
    const shape = [2, 37, 12];
    const inputs = { q: noise(shape, 1), k: noise(shape, 2), v: noise(shape, 3) };
    const expected = await compute(cpu, bare(attention), inputs, ["y"]);
    const actual = await compute(cpu, bare(plain.onnx), inputs, ["y"]);
    expect(relativeError(actual.y!, expected.y!)).toBeLessThan(1e-6);
  });

  it("tells attention from something else", async () => {
    const session = await cpu.load(bare(ATTENTION_PROBE));
    expect(await attends(session)).toBe(true);
    const other = await cpu.load(
      bare(
        model(
          graph(
            [node("Identity", ["x"], ["y"])],
            [value("x", ["a", "b", "c"])],
            [value("y", ["a", "b", "c"])],
          ),
        ),
      ),
    );
    expect(await attends(other)).toBe(false);
  });

  it("tells attention over a cache in place from something else", async () => {
    expect(await tokensAttended(await cpu.load(bare(CACHE_PROBE)))).toBe(Number.POSITIVE_INFINITY);
    const { graph: probe } = fromBinary(ModelProtoSchema, CACHE_PROBE);
    const idle = ["y", "more keys", "more values"].map((y, i) =>
      node("Identity", [["x", "keys", "values"][i] as string], [y]),
    );
    const other = model(graph(idle, probe?.input ?? [], probe?.output ?? []));
    expect(await tokensAttended(await cpu.load(bare(other)))).toBe(0);
  });

  it("keeps no cache on the CPU, where it is the caller's memory anyway", async () => {
    expect(await cpu.residentTokens()).toBe(0);
  });
});

// -------------------------------------------------------------------------------------------- on a device

/** Chromium's driver that computes on the CPU: it takes the place of a GPU where there is none. */
const SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json";

async function findGpu(): Promise<Runtime | string> {
  if (process.env.VK_ICD_FILENAMES === undefined && existsSync(SWIFTSHADER)) {
    process.env.VK_ICD_FILENAMES = SWIFTSHADER;
    process.env.XDG_RUNTIME_DIR ??= "/tmp";
  }
  const tooLong = new Promise<string>((resolve) => {
    setTimeout(resolve, 30_000, "looking for a device took over 30 s").unref();
  });
  const runtime = createNodeRuntime({ device: "webgpu" }).catch((error: OryxError) => error.message);
  return Promise.race([runtime, tooLong]);
}

const found = await findGpu();
const missing = typeof found === "string" ? `; skipped: ${found} (Debian's chromium brings one)` : "";

describe.skipIf(missing !== "")(`WebGPU${missing}`, () => {
  const gpu = found as Runtime;
  let cpu: Runtime;
  beforeAll(async () => {
    cpu = await createNodeRuntime();
  });
  afterAll(async () => {
    await cpu.close();
    await gpu.close();
  });

  it("computes sines of far positions exactly", async () => {
    const positions = [0, 1, 511, 4097, 32_767, 131_071];
    const frequency: TensorData = { dtype: "f32", shape: [1], data: Float32Array.of(1) };
    const x: TensorData = { dtype: "f32", shape: [6], data: new Float32Array(6) };
    const { y } = await compute(gpu, bare(angles), { positions: integers(positions), frequency, x }, ["y"]);
    positions.forEach((position, i) => {
      expect(y?.data[i]).toBeCloseTo(Math.sin(position), 6);
    });
  });

  it.each([1, 31, 32, 100])("attends over %d positions as the CPU does", async (length) => {
    const inputs = Object.fromEntries(["q", "k", "v"].map((name, i) => [name, noise([2, length, 12], i)]));
    const expected = await compute(cpu, bare(attention), inputs, ["y"]);
    const actual = await compute(gpu, bare(attention), inputs, ["y"]);
    expect(relativeError(actual.y!, expected.y!)).toBeLessThan(1e-5);
  });

  it("reads a published bf16 weight", async () => {
    const nodes = [
      node("Cast", ["w"], ["wide"], [int("to", 1)]),
      node("Transpose", ["wide"], ["turned"], [ints("perm", [1, 0])]),
      node("MatMul", ["x", "turned"], ["y"]),
    ];
    const io = [[value("x", ["n", 4])], [value("y", ["n", 2])]] as const;
    const onnx = model(graph(nodes, [...io[0]], [...io[1]], [weight("w", [2, 4], "BFLOAT16")]));
    const values = [1, -2, 0.5, 4, 3, 0, -1, 0.25];
    const halves = Uint16Array.from(values, (v) => new Uint32Array(Float32Array.of(v).buffer)[0]! >>> 16);
    const bytes = new Uint8Array(halves.buffer);
    const weights = new Map([["w", { dtype: "bf16", shape: [2, 4], bytes } as const]]);
    const x: TensorData = { dtype: "f32", shape: [1, 4], data: Float32Array.of(1, 1, 2, 2) };
    const { y } = await compute(gpu, { onnx, weights }, { x }, ["y"]);
    expect([y?.data[0], y?.data[1]]).toEqual([8, 1.5]);
  });

  it("runs the vision graph as the CPU does, in two sizes", async () => {
    const { vision, language, visionShape } = await openCheckpoint(qwenTiny);
    const connector = storedParams(language).at("model");
    const loadable = emitOnnx(visionGraph(storedParams(vision), connector, visionShape));
    for (const [n, height, width, k] of [
      [1, 64, 112, 1],
      [2, 128, 64, 2],
    ] as const) {
      const data = Uint8Array.from({ length: n * height * width * 3 }, (_, i) => (i * i) % 251);
      const inputs: Record<string, TensorData> = {
        pixels: { dtype: "u8", shape: [n, height, width, 3], data },
        k: { dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(k)) },
      };
      const expected = await compute(cpu, loadable, inputs, ["vit", "rows"]);
      const actual = await compute(gpu, loadable, inputs, ["vit", "rows"]);
      expect(relativeError(actual.vit!, expected.vit!)).toBeLessThan(1e-5);
      expect(relativeError(actual.rows!, expected.rows!)).toBeLessThan(1e-5);
    }
  });

  it.each([0, 5])(
    "runs the language graph as the CPU does, behind %i cached tokens, beside other models",
    async (cached) => {
      const { language, config } = await openCheckpoint(qwenTiny);
      const { hiddenSize, headDim, layers, kvHeads } = config.language;
      const inputs: Record<string, TensorData> = {
        ids: integers([3, 1, 4, 1]),
        visual: noise([2, hiddenSize]),
        order: integers([0, 4, 1, 5, 2, 3]),
        positions: integers([0, 1, 2, 3, 4, 5].map((i) => cached + i)),
        rows: integers([0, 5]),
      };
      for (let layer = 0; layer < layers; layer++) {
        for (let head = 0; head < kvHeads; head++) {
          inputs[`past.${layer}.keys.${head}`] = noise([cached, headDim], layer);
          inputs[`past.${layer}.values.${head}`] = noise([cached, headDim], head);
        }
      }
      const loadable = emitOnnx(languageGraph(storedParams(language), config.language));
      const outputs = ["logits", `present.${layers - 1}.keys.0`, "present.0.values.0"];
      const expected = await compute(cpu, loadable, inputs, outputs);
      const actual = await Promise.all([1, 2].map(() => compute(gpu, loadable, inputs, outputs)));
      for (const results of actual) {
        for (const name of outputs) {
          expect(relativeError(results[name]!, expected[name]!)).toBeLessThan(1e-5);
        }
      }
    },
  );

  it.each(["oryx-qwen-tiny", "oryx-llama-tiny"])(
    "answers as the reference of %s, in two conversations at once, its caches never leaving the GPU",
    async (name) => {
      const dir = fileURLToPath(new URL(`../../../test/fixtures/${name}`, import.meta.url));
      const { cases } = JSON.parse(readFileSync(`${dir}/cases.json`, "utf8"));
      const text = cases.find((c: { name: string }) => c.name === "text");
      const { language, config } = await openCheckpoint(dir);
      const source = { config: config.language, language };
      const [onGpu, onCpu] = [await loadDecoder(gpu, source), await loadDecoder(cpu, source)];
      expect(onGpu.stepTokens).toBeGreaterThanOrEqual(31);
      const other = text.input_ids.toReversed();
      const slots = [onGpu.slot(128), onGpu.slot(128), onCpu.slot(128)] as const;
      const prompts = [text.input_ids, other, other];
      const logits = await Promise.all(
        slots.map((slot, i) => (i === 2 ? onCpu : onGpu).prefill(slot, [{ ids: prompts[i] }])),
      );
      const said: number[][] = [[], [], []];
      while ((said[0]?.length ?? 0) < text.greedy.length) {
        for (const [i, slot] of slots.entries()) {
          said[i]?.push(argmax(logits[i] as Float32Array));
          logits[i] = await (i === 2 ? onCpu : onGpu).next(slot, said[i]?.at(-1) as number);
        }
      }
      expect(said[0]).toEqual(text.greedy);
      expect(said[1]).toEqual(said[2]);

      const fork = onGpu.slot(128);
      await fork.append(await slots[1].read(0, other.length));
      expect(argmax(await onGpu.next(fork, said[1]?.[0] as number))).toBe(said[1]?.[1]);
      await onGpu.close();
      await expect(slots[0].read(0, 1)).rejects.toMatchObject({ code: "closed" });
      await onCpu.close();
    },
    180_000,
  );
});
