import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import koffi from "koffi";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hold } from "../../../test/support/hold.ts";
import { notingOrt } from "../../../test/support/noting-ort.ts";
import { graph, int, model, node, subgraph, value } from "../../../test/support/tiny-onnx.ts";
import type { TensorData } from "../../core/tensor.ts";
import { Turns } from "../../core/turns.ts";
import type { Runtime, Session } from "../session.ts";
import { createNodeRuntime } from "./runtime.ts";
import { NodeSession } from "./session.ts";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

const f32 = (shape: number[], data: ArrayLike<number> | Float32Array): TensorData => ({
  dtype: "f32",
  shape,
  data: data instanceof Float32Array ? data : Float32Array.from(data),
});

const i64 = (shape: number[], data: number[]): TensorData => ({
  dtype: "i64",
  shape,
  data: BigInt64Array.from(data.map(BigInt)),
});

/** y [m, n] = a [m, k] x b [k, n], by the definition. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, m: number, k: number, n: number): number[] {
  const y = new Array<number>(m * n).fill(0);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) for (let t = 0; t < k; t++) y[i * n + j]! += a[i * k + t]! * b[t * n + j]!;
  return y;
}

const matmul = model(
  graph(
    [node("MatMul", ["a", "b"], ["y"])],
    [value("a", ["m", "k"]), value("b", ["k", "n"])],
    [value("y", ["m", "n"])],
  ),
);

const unknownOp = model(graph([node("Nope", ["a"], ["y"])], [value("a", ["n"])], [value("y", ["n"])]));

/** Squares a matrix over and over: `steps` (an input) says how often, so that a run can last as long as wished. */
const endless = model(
  graph(
    [
      node(
        "Loop",
        ["steps", "go", "x"],
        ["y"],
        [
          subgraph(
            "body",
            graph(
              [
                node("Identity", ["still"], ["again"]),
                node("MatMul", ["s", "s"], ["s2"]),
                node("Tanh", ["s2"], ["next"]),
              ],
              [value("i", [], "INT64"), value("still", [], "BOOL"), value("s", [256, 256])],
              [value("again", [], "BOOL"), value("next", [256, 256])],
            ),
          ),
        ],
      ),
    ],
    [value("steps", [], "INT64"), value("go", [], "BOOL"), value("x", [256, 256])],
    [value("y", [256, 256])],
  ),
);

const endlessInputs = (steps: number): Record<string, TensorData> => ({
  steps: i64([], [steps]),
  go: { dtype: "bool", shape: [], data: Uint8Array.of(1) },
  x: f32([256, 256], new Float32Array(256 * 256).fill(0.01)),
});

describe("a session of ONNX Runtime", () => {
  let runtime: Runtime;
  let session: Session;
  const load = (onnx: Uint8Array): Promise<Session> => runtime.load({ onnx, weights: new Map() });

  beforeAll(async () => {
    runtime = await createNodeRuntime({ threads: 2 });
    session = await load(matmul);
  });
  afterAll(() => runtime.close());

  it("knows the model's names", () => {
    expect(session.inputNames).toEqual(["a", "b"]);
    expect(session.outputNames).toEqual(["y"]);
  });

  it("multiplies as the definition says", async () => {
    const a = Array.from({ length: 6 }, (_, i) => i - 2);
    const b = Array.from({ length: 12 }, (_, i) => (i % 5) - 1);
    const { y } = await session.run({ a: f32([2, 3], a), b: f32([3, 4], b) }, { y: "fresh" });
    expect(y).toEqual(f32([2, 4], product(a, b, 2, 3, 4)));
  });

  it("reads from and writes into parts of one buffer, and touches nothing beside them", async () => {
    const cache = new Float32Array(32).fill(7);
    cache.set([1, 2, 3, 4], 3);
    cache.set([5, 6, 7, 8], 8);
    const target = f32([2, 2], cache.subarray(12, 16));
    const { y } = await session.run(
      { a: f32([2, 2], cache.subarray(3, 7)), b: f32([2, 2], cache.subarray(8, 12)) },
      { y: target },
    );
    expect(y).toBe(target);
    expect([...cache.subarray(11, 17)]).toEqual([8, 19, 22, 43, 50, 7]);
  });

  it.each([0, 1])("takes tensors without elements and tensors of one element: %i rows", async (rows) => {
    const { y } = await session.run(
      { a: f32([rows, 1], new Array(rows).fill(3)), b: f32([1, 2], [2, 4]) },
      { y: "fresh" },
    );
    expect(y).toEqual(f32([rows, 2], rows ? [6, 12] : []));
  });

  it("writes an output without elements into the caller's memory", async () => {
    const { y } = await session.run(
      { a: f32([0, 3], []), b: f32([3, 2], [1, 2, 3, 4, 5, 6]) },
      {
        y: f32([0, 2], []),
      },
    );
    expect(y!.data).toHaveLength(0);
  });

  it("computes only the outputs that are asked for, by every element type", async () => {
    const types = {
      f64: "DOUBLE",
      i32: "INT32",
      i64: "INT64",
      i8: "INT8",
      u8: "UINT8",
      f16: "FLOAT16",
    } as const;
    const cast = await load(
      model(
        graph(
          Object.entries(types).map(([name, type]) =>
            node(
              "Cast",
              ["x"],
              [name],
              [int("to", { DOUBLE: 11, INT32: 6, INT64: 7, INT8: 3, UINT8: 2, FLOAT16: 10 }[type])],
            ),
          ),
          [value("x", ["n"])],
          Object.entries(types).map(([name, type]) => value(name, ["n"], type)),
        ),
      ),
    );
    const names = ["f64", "i32", "i64", "i8", "u8", "f16"];
    const results = await cast.run(
      { x: f32([2], [1, 2]) },
      Object.fromEntries(names.map((name) => [name, "fresh"])),
    );
    expect(Object.values(results).map((t) => [t.dtype, ...t.data].join(" "))).toEqual([
      "f64 1 2",
      "i32 1 2",
      "i64 1 2",
      "i8 1 2",
      "u8 1 2",
      "f16 15360 16384", // 0x3c00 and 0x4000
    ]);
    expect(Object.keys(await cast.run({ x: f32([2], [1, 2]) }, { i32: "fresh" }))).toEqual(["i32"]);
    await cast.close();
  });

  it("binds hundreds of tensors in one run, in any order", async () => {
    const count = 300;
    const names = Array.from({ length: count }, (_, i) => `x${i}`);
    const many = await load(
      model(
        graph(
          names.map((name) => node("Neg", [name], [`${name}.out`])),
          names.map((name) => value(name, ["n"])),
          names.map((name) => value(`${name}.out`, ["n"])),
        ),
      ),
    );
    const pool = Float32Array.from({ length: count * 2 }, (_, i) => i);
    const inputs = names.map((name, i) => [name, f32([1], pool.subarray(i, i + 1))] as const);
    const outputs = names.map(
      (name, i) => [`${name}.out`, f32([1], pool.subarray(count + i, count + i + 1))] as const,
    );
    await many.run(Object.fromEntries(inputs.reverse()), Object.fromEntries(outputs));
    expect([...pool.subarray(count)]).toEqual(names.map((_, i) => -i));
    await many.close();
  });

  it("lets runs overlap, each with its own results", async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        session.run({ a: f32([1, 1], [i]), b: f32([1, 1], [10]) }, { y: "fresh" }),
      ),
    );
    expect(results.map(({ y }) => y!.data[0])).toEqual([0, 10, 20, 30, 40, 50, 60, 70]);
  });

  it("keeps the event loop free, and ends a long run when its signal fires", async () => {
    const loop = await load(endless);
    const controller = new AbortController();
    let ticks = 0;
    const timer = setInterval(() => {
      ticks += 1;
      if (ticks === 5) controller.abort();
    }, 5);
    const run = loop.run(endlessInputs(1e12), { y: "fresh" }, { signal: controller.signal });
    await expect(run).rejects.toMatchObject({ code: "aborted" });
    clearInterval(timer);
    expect(ticks).toBeGreaterThanOrEqual(5);

    const { y } = await loop.run(endlessInputs(1), { y: "fresh" });
    expect(y!.data[0]).toBeCloseTo(Math.tanh(256 * 0.01 * 0.01), 5);
    await loop.close();
  });

  it("survives garbage collection while runs are in flight", async () => {
    const fresh = (): Promise<Record<string, TensorData>> =>
      session.run(
        {
          a: f32([1, 20000], new Float32Array(20000).fill(1)),
          b: f32([20000, 1], new Float32Array(20000).fill(2)),
        },
        { y: "fresh" },
      );
    const runs = Array.from({ length: 20 }, fresh);
    collectGarbage();
    const results = await Promise.all(runs);
    expect(results.map(({ y }) => y!.data[0])).toEqual(new Array(20).fill(40000));
  });

  it("does not start a run whose signal has fired", async () => {
    const run = session.run({}, { y: "fresh" }, { signal: AbortSignal.abort() });
    await expect(run).rejects.toMatchObject({ code: "aborted" });
  });

  const a = f32([2, 3], new Array(6).fill(1));
  const b = f32([3, 1], [1, 2, 3]);
  it.each<[string, Record<string, TensorData>, Record<string, TensorData | "fresh">, RegExp]>([
    ["an unknown input", { a, b, c: a }, { y: "fresh" }, /no input "c"/],
    ["an unknown output", { a, b }, { z: "fresh" }, /no output "z"/],
    ["a missing input", { a }, { y: "fresh" }, /Missing Input: b/],
    ["no outputs", { a, b }, {}, /output/],
    ["shapes that do not fit the operation", { a, b: a }, { y: "fresh" }, /left_?dim|dimension mismatch/i],
    ["a wrong rank", { a: f32([6], new Array(6).fill(1)), b }, { y: "fresh" }, /rank/i],
    ["a wrong element type", { a: i64([2, 3], [1, 2, 3, 4, 5, 6]), b }, { y: "fresh" }, /type/],
    ["a shape that does not fit the memory", { a: f32([2, 3], [1]), b }, { y: "fresh" }, /"a"/],
    ["a negative dimension", { a: f32([-2, -3], new Array(6).fill(1)), b }, { y: "fresh" }, /non-negative/],
    ["memory of another element type", { a: { ...a, dtype: "f64" } as never, b }, { y: "fresh" }, /f64/],
    ["an output of the wrong shape", { a, b }, { y: f32([1, 2], [0, 0]) }, /shape/i],
  ])("rejects %s in one readable line, and stays usable", async (_, inputs, outputs, message) => {
    const error = await session.run(inputs, outputs).catch((e) => e);
    expect(error).toMatchObject({ code: "runtime_failed" });
    expect(error.message).toMatch(message);
    expect(error.message).not.toMatch(/onnxruntime_src|\n/);
    expect((await session.run({ a, b }, { y: "fresh" })).y).toEqual(f32([2, 1], [6, 6]));
  });

  it.skipIf(process.platform === "win32")("prints nothing when a run fails (needs dup2)", async () => {
    const folder = mkdtempSync(join(tmpdir(), "oryx-stderr-"));
    const file = openSync(join(folder, "stderr"), "w+");
    const libc = koffi.load(null);
    const dup = libc.func("dup", "int", ["int"]);
    const dup2 = libc.func("dup2", "int", ["int", "int"]);
    const stderr = dup(2);
    dup2(file, 2);
    try {
      await session.run({ a, b: a }, { y: "fresh" }).catch(() => {});
      await load(Uint8Array.of(1, 2, 3)).catch(() => {});
      await runtime.load({ onnx: unknownOp, weights: new Map() }).catch(() => {});
    } finally {
      dup2(stderr, 2);
      closeSync(stderr);
      closeSync(file);
    }
    const printed = readFileSync(join(folder, "stderr"), "utf8");
    rmSync(folder, { recursive: true });
    expect(printed).toBe("");
  });

  it("waits for runs in flight before it closes, and then refuses more", async () => {
    const loop = await load(endless);
    const run = loop.run(endlessInputs(50), { y: "fresh" });
    const order: string[] = [];
    await Promise.all([
      run.then(() => order.push("run")),
      loop.close().then(() => order.push("close")),
      loop.close(),
      expect(loop.run(endlessInputs(1), { y: "fresh" })).rejects.toMatchObject({ code: "closed" }),
    ]);
    expect(order).toEqual(["run", "close"]);
  });
});

describe("a run that waits for the device", () => {
  it("ends at once when it is aborted, and never begins", async () => {
    const calls: string[] = [];
    const line = new Turns();
    const free = hold(line);
    const session = new NodeSession(notingOrt(calls), 1n, 2n, { device: "webgpu", line });
    const stop = new AbortController();
    const running = session.run({}, {}, { signal: stop.signal });
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: "aborted" });
    free();
    await session.close();
    expect(calls).not.toContain("Run");
    expect(calls.at(-1)).toBe("ReleaseSession");
  });
});

describe("the runtime", () => {
  it("closes every session with it, and then loads no more", async () => {
    const runtime = await createNodeRuntime({ threads: 1 });
    const [first] = await Promise.all([
      runtime.load({ onnx: matmul, weights: new Map() }),
      runtime.load({ onnx: matmul, weights: new Map() }),
    ]);
    const late = runtime.load({ onnx: matmul, weights: new Map() });
    await Promise.all([runtime.close(), runtime.close()]);
    await expect((await late).run({}, {})).rejects.toMatchObject({ code: "closed" });
    await expect(first.run({}, {})).rejects.toMatchObject({ code: "closed" });
    await expect(runtime.load({ onnx: matmul, weights: new Map() })).rejects.toMatchObject({
      code: "closed",
    });
  });

  it("says that a library is missing, or is not ONNX Runtime", async () => {
    const missing = createNodeRuntime({ libraryPath: "/nowhere/libonnxruntime.so" });
    await expect(missing).rejects.toMatchObject({ code: "runtime_missing" });
    const other = createNodeRuntime({ libraryPath: import.meta.filename });
    await expect(other).rejects.toMatchObject({ code: "runtime_missing" });
  });

  it("refuses a number of threads that makes no sense", async () => {
    for (const threads of [0, -1, 1.5, Number.NaN]) {
      await expect(createNodeRuntime({ threads })).rejects.toMatchObject({ code: "bad_option" });
    }
  });

  it("refuses bytes that are no model", async () => {
    const runtime = await createNodeRuntime();
    for (const onnx of [
      new Uint8Array(0),
      Uint8Array.of(1, 2, 3),
      new Uint8Array(100).fill(255),
      matmul.slice(0, 40),
    ]) {
      await expect(runtime.load({ onnx, weights: new Map() })).rejects.toMatchObject({
        code: "runtime_failed",
      });
    }
    await runtime.close();
  });
});
