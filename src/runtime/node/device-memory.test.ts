import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hold } from "../../../test/support/hold.ts";
import { notingOrt } from "../../../test/support/noting-ort.ts";
import { graph, model, node, value } from "../../../test/support/tiny-onnx.ts";
import type { TensorData } from "../../core/tensor.ts";
import { Turns } from "../../core/turns.ts";
import type { DeviceTensor, Runtime, Session } from "../session.ts";
import { DeviceMemory } from "./device-memory.ts";
import { createNodeRuntime } from "./runtime.ts";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

const negation = model(graph([node("Neg", ["x"], ["y"])], [value("x", ["n"])], [value("y", ["n"])]));

const f32 = (...data: number[]): TensorData => ({
  dtype: "f32",
  shape: [data.length],
  data: Float32Array.from(data),
});

describe("a tensor in the device's memory", () => {
  let runtime: Runtime;
  let session: Session;
  const load = () => runtime.load({ onnx: negation, weights: new Map() });
  const write = (y: DeviceTensor, ...data: number[]) => session.run({ x: f32(...data) }, { y });
  const read = async (x: DeviceTensor, by = session) => (await by.run({ x }, { y: "fresh" })).y?.data;

  beforeAll(async () => {
    runtime = await createNodeRuntime({ threads: 1 });
    session = await load();
  });
  afterAll(() => runtime.close());

  it("is written by one run and read by another, also of another session", async () => {
    const tensor = await session.allocate("f32", [3]);
    expect(tensor).toMatchObject({ dtype: "f32", shape: [3] });
    expect(await write(tensor, 1, 2, 3)).toEqual({});
    expect(await read(tensor)).toEqual(Float32Array.of(1, 2, 3));
    const other = await load();
    expect(await read(tensor, other)).toEqual(Float32Array.of(1, 2, 3));
    await other.close();
    await tensor.close();
  });

  it("is input and output of one run", async () => {
    const tensor = await session.allocate("f32", [2]);
    await write(tensor, 5, -6);
    await session.run({ x: tensor }, { y: tensor });
    expect(await read(tensor)).toEqual(Float32Array.of(-5, 6));
    await tensor.close();
  });

  it("keeps to its shape and type", async () => {
    const [longer, whole] = [await session.allocate("f32", [3]), await session.allocate("i64", [2])];
    await expect(write(longer, 1, 2)).rejects.toMatchObject({ code: "runtime_failed" });
    await expect(read(whole)).rejects.toMatchObject({ code: "runtime_failed" });
    await Promise.all([longer.close(), whole.close()]);
  });

  it("is not used after it was closed, and closing it twice does nothing", async () => {
    const tensor = await session.allocate("f32", [1]);
    await write(tensor, 4);
    await Promise.all([tensor.close(), tensor.close()]);
    await expect(read(tensor)).rejects.toMatchObject({ code: "closed" });
  });

  it("stays until the runs that use it have ended", async () => {
    const length = 4_000_000;
    const tensor = await session.allocate("f32", [length]);
    const x: TensorData = { dtype: "f32", shape: [length], data: new Float32Array(length).fill(2) };
    const ended: string[] = [];
    const written = session.run({ x }, { y: tensor }).then(() => ended.push("written"));
    const reading = read(tensor).then((data) => ended.push(`read ${data?.length}`));
    await tensor.close();
    expect(ended.sort()).toEqual([`read ${length}`, "written"]);
    await Promise.all([written, reading]);
  });

  it("is freed with its session", async () => {
    const own = await load();
    const tensor = await own.allocate("f32", [1]);
    await own.close();
    await expect(read(tensor)).rejects.toMatchObject({ code: "closed" });
    await tensor.close();
    await expect(own.allocate("f32", [1])).rejects.toMatchObject({ code: "closed" });
  });

  it("is freed before the allocator that it came from, also when it has only begun to close", async () => {
    const calls: string[] = [];
    const line = new Turns();
    const memory = new DeviceMemory(notingOrt(calls), 1n, { device: "webgpu", line });
    const tensor = await memory.allocate("f32", [1]);
    const free = hold(line);
    const closing = tensor.close();
    await new Promise((resolve) => setImmediate(resolve));
    const releasing = memory.release();
    await new Promise((resolve) => setImmediate(resolve));
    free();
    await Promise.all([closing, releasing]);
    expect(calls.filter((name) => name.startsWith("Release")).slice(-2)).toEqual([
      "ReleaseValue",
      "ReleaseAllocator",
    ]);
  });

  it("is refused when there is no such memory", async () => {
    const huge = session.allocate("f32", [2 ** 50]);
    await expect(huge).rejects.toMatchObject({ code: "out_of_memory" });
    const tensor = await session.allocate("f32", [1]);
    await write(tensor, 1);
    expect(await read(tensor)).toEqual(Float32Array.of(1));
    await tensor.close();
  });

  it("gives its memory back, also when a run failed", async () => {
    const length = 8_000_000; // 32 MB
    const x: TensorData = { dtype: "f32", shape: [length], data: new Float32Array(length) };
    const round = async () => {
      const tensor = await session.allocate("f32", [length]);
      await session.run({ x }, { y: tensor });
      await session.run({ x: tensor, z: tensor }, { y: "fresh" }).catch(() => {});
      await tensor.close();
      collectGarbage();
      return process.memoryUsage().rss;
    };
    const first = await round();
    let last = first;
    for (let i = 0; i < 12; i++) last = await round();
    expect(last - first).toBeLessThan(150e6); // of 384 MB that went through
  });
});
