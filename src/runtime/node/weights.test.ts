import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { graph, int, ints, model, node, value, weight } from "../../../test/support/tiny-onnx.ts";
import type { StoredTensor } from "../../core/tensor.ts";
import type { Runtime, Session } from "../session.ts";
import { createNodeRuntime } from "./runtime.ts";

const [ROWS, COLUMNS] = [3, 64];
const VALUES = Array.from({ length: ROWS * COLUMNS }, (_, i) => (i % 7) - 3);
/** The upper half of an f32 is a bf16; these values need no more. */
const BF16 = Uint16Array.from(VALUES, (v) => new Uint32Array(Float32Array.of(v).buffer)[0]! >>> 16);
const F32 = Float32Array.from(VALUES);
const X = Array.from({ length: COLUMNS }, (_, i) => i / 8);
const EXPECTED = Array.from({ length: ROWS }, (_, r) =>
  X.reduce((s, x, c) => s + x * VALUES[r * COLUMNS + c]!, 0),
);

const input = [value("x", [1, COLUMNS])];
const output = [value("y", [1, ROWS])];

/** y = x W^T with W [3, 64] as published: bf16, rows are outputs; cast and transposed inside the graph. */
const fromBf16 = model(
  graph(
    [
      node("Cast", ["w"], ["wide"], [int("to", 1)]),
      node("Transpose", ["wide"], ["turned"], [ints("perm", [1, 0])]),
      node("MatMul", ["x", "turned"], ["y"]),
    ],
    input,
    output,
    [weight("w", [ROWS, COLUMNS], "BFLOAT16")],
  ),
);

const fromF32 = model(
  graph([node("FusedMatMul", ["x", "w"], ["y"], [int("transB", 1)], "com.microsoft")], input, output, [
    weight("w", [ROWS, COLUMNS], "FLOAT"),
  ]),
);

describe("weights outside the model", () => {
  let folder: string;
  let runtime: Runtime;
  const shape = [ROWS, COLUMNS];
  const load = (onnx: Uint8Array, w: StoredTensor): Promise<Session> =>
    runtime.load({ onnx, weights: new Map([["w", w]]) });
  const fileWith = (name: string, offset: number, data: Uint8Array): StoredTensor["bytes"] => {
    const path = join(folder, name);
    writeFileSync(path, Buffer.concat([Buffer.alloc(offset, 0xff), data, Buffer.alloc(5, 0xff)]));
    return { path, offset, byteLength: data.byteLength };
  };
  const check = async (session: Session): Promise<void> => {
    const x = { dtype: "f32" as const, shape: [1, COLUMNS], data: Float32Array.from(X) };
    const { y } = await session.run({ x }, { y: "fresh" });
    expect([...(y!.data as Float32Array)]).toEqual(EXPECTED);
    await session.close();
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "oryx-weights-"));
    runtime = await createNodeRuntime({ threads: 1 });
  });
  afterAll(async () => {
    await runtime.close();
    rmSync(folder, { recursive: true });
  });

  const bf16Bytes = new Uint8Array(BF16.buffer);
  const f32Bytes = new Uint8Array(F32.buffer);

  it.each([0, 8, 1346, 4099])("are read from a file at byte %i, bf16", async (offset) => {
    await check(
      await load(fromBf16, { dtype: "bf16", shape, bytes: fileWith(`b${offset}`, offset, bf16Bytes) }),
    );
  });

  it.each([0, 8, 1346, 4099])("are read from a file at byte %i, f32", async (offset) => {
    await check(
      await load(fromF32, { dtype: "f32", shape, bytes: fileWith(`f${offset}`, offset, f32Bytes) }),
    );
  });

  it("are read from memory, at any place of a buffer", async () => {
    const odd = new Uint8Array(f32Bytes.length + 3).subarray(3);
    odd.set(f32Bytes);
    await check(await load(fromF32, { dtype: "f32", shape, bytes: f32Bytes }));
    await check(await load(fromF32, { dtype: "f32", shape, bytes: odd }));
    await check(await load(fromBf16, { dtype: "bf16", shape, bytes: bf16Bytes }));
  });

  it("are read through links into another folder, and by relative paths", async () => {
    const range = fileWith("blob", 16, bf16Bytes);
    mkdirSync(join(folder, "snapshot"), { recursive: true });
    symlinkSync("../blob", join(folder, "snapshot", "model.safetensors"));
    const path = `${folder}/snapshot/./model.safetensors`;
    await check(await load(fromBf16, { dtype: "bf16", shape, bytes: { ...range, path } as typeof range }));
  });

  it("outlive their bytes in memory, which may be reused after loading", async () => {
    const bytes = f32Bytes.slice();
    const session = await load(fromF32, { dtype: "f32", shape, bytes });
    bytes.fill(0);
    await check(session);
  });

  it("must be there, be of the declared kind, and lie inside their file", async () => {
    const bytes = fileWith("good", 0, f32Bytes);
    const none = runtime.load({ onnx: fromF32, weights: new Map() });
    await expect(none).rejects.toMatchObject({ code: "weights_missing", message: /weight w / });
    const refused: [StoredTensor, string][] = [
      [
        { dtype: "f32", shape, bytes: { path: join(folder, "nothing"), offset: 0, byteLength: 768 } },
        "weights_missing",
      ],
      [{ dtype: "bf16", shape, bytes: bf16Bytes }, "weights_mismatch"],
      [{ dtype: "f32", shape: [COLUMNS, ROWS], bytes }, "weights_mismatch"],
      [{ dtype: "f32", shape, bytes: f32Bytes.subarray(4) }, "weights_malformed"],
      [{ dtype: "f32", shape, bytes: { ...bytes, offset: 8 } as typeof bytes }, "weights_malformed"],
      [{ dtype: "f32", shape, bytes: { ...bytes, offset: -4 } as typeof bytes }, "weights_malformed"],
    ];
    for (const [stored, code] of refused) {
      await expect(load(fromF32, stored)).rejects.toMatchObject({ code });
    }
  });
});
