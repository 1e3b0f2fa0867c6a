import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memorySource } from "../../test/support/memory-source.ts";
import { concat, littleEndian, safetensorsFile, utf8 } from "../../test/support/weight-files.ts";
import { DTYPE_BYTES, type DType } from "../core/dtype.ts";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { loadTensor } from "./files.ts";
import { readSafetensors, readSafetensorsFrom } from "./safetensors.ts";
import { writeSafetensors } from "./safetensors-write.ts";
import { asStored } from "./stored.ts";

const read = (bytes: Uint8Array) => readSafetensorsFrom(memorySource("a.safetensors", bytes));
const tensor = (dtype: string, shape: unknown, begin: unknown, end: unknown) =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
const one = (entry: string, dataBytes = 0) => safetensorsFile(`{"a":${entry}}`, dataBytes);
const two = (a: string, b: string, dataBytes: number) => safetensorsFile(`{"a":${a},"b":${b}}`, dataBytes);

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "oryx-safetensors-"));
});
afterAll(() => rm(dir, { recursive: true }));

const MALFORMED: readonly [string, Uint8Array, string?][] = [
  ["an empty file", new Uint8Array(0)],
  ["a file of seven bytes", new Uint8Array(7)],
  ["a header length of zero", safetensorsFile("")],
  ["a header length beyond the file", safetensorsFile("{}", 0, 3)],
  ["a header length beyond the limit", safetensorsFile("{}", 0, LIMITS.safetensorsHeaderBytes + 1)],
  ["a header length of 2^64-1", safetensorsFile("{}", 0, 2n ** 64n - 1n)],
  ["a header that is no object", safetensorsFile("[]")],
  ["a header that begins with a space", safetensorsFile(" {}")],
  ["a header cut in the middle", safetensorsFile('{"a":', 0)],
  ["a header padded with zeros", safetensorsFile(concat(utf8("{}"), [0, 0]))],
  ["a header that is not UTF-8", safetensorsFile(concat(utf8('{"'), [0xff], utf8('":1}')))],
  ["a header of two objects", safetensorsFile("{}{}")],
  [
    "a tensor named twice",
    safetensorsFile(`{"a":${tensor("U8", [1], 0, 1)},"a":${tensor("U8", [1], 0, 1)}}`, 1),
  ],
  ["a field given twice", one('{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}', 1)],
  ["two __proto__ tensors", safetensorsFile(`{"__proto__":${tensor("U8", [], 0, 1)},"__proto__":{}}`, 1)],
  ["a tensor that is a string", one('"x"')],
  ["a tensor without dtype", one('{"shape":[1],"data_offsets":[0,1]}', 1)],
  ["a tensor without shape", one('{"dtype":"U8","data_offsets":[0,1]}', 1)],
  ["a tensor without offsets", one('{"dtype":"U8","shape":[1]}', 1)],
  ["a tensor with a field too many", one('{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":0}', 1)],
  ["an element type not known here", one(tensor("F8_E4M3", [1], 0, 1), 1), "weights_unsupported"],
  ["an element type called constructor", one(tensor("constructor", [1], 0, 1), 1), "weights_unsupported"],
  ["an element type that is a number", one('{"dtype":1,"shape":[1],"data_offsets":[0,1]}', 1)],
  ["a negative dimension", one(tensor("U8", [-1], 0, 1), 1)],
  ["a fractional dimension", one(tensor("U8", [0.5], 0, 1), 1)],
  ["a dimension written 1.0", one('{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}', 1)],
  ["a dimension written 1e0", one('{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}', 1)],
  ["a dimension that is a string", one(tensor("U8", ["1"], 0, 1), 1)],
  ["a dimension of 2^60", one(tensor("U8", [2 ** 60], 0, 1), 1)],
  ["a shape whose product overflows", one(tensor("F32", [2 ** 31, 2 ** 31, 2 ** 31], 0, 4), 4)],
  [
    "a shape whose product wraps to its size",
    one('{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}'),
  ],
  ["nine dimensions", one(tensor("U8", [1, 1, 1, 1, 1, 1, 1, 1, 1], 0, 1), 1)],
  ["three offsets", one('{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}', 1)],
  ["a negative offset", one(tensor("U8", [1], -1, 0), 1)],
  ["an end before the beginning", one(tensor("U8", [1], 1, 0), 1)],
  ["fewer bytes than the shape needs", one(tensor("F32", [2], 0, 4), 4)],
  ["more bytes than the shape needs", one(tensor("F32", [1], 0, 8), 8)],
  ["a tensor beyond the end of the file", one(tensor("U8", [4], 0, 4), 3)],
  ["bytes after the last tensor", one(tensor("U8", [4], 0, 4), 5)],
  ["bytes but no tensor", safetensorsFile("{}", 1)],
  ["a hole before the first tensor", one(tensor("U8", [1], 1, 2), 2)],
  ["a hole between tensors", two(tensor("U8", [1], 0, 1), tensor("U8", [1], 2, 3), 3)],
  ["tensors that overlap", two(tensor("U8", [2], 0, 2), tensor("U8", [2], 1, 3), 3)],
  ["tensors that share their bytes", two(tensor("U8", [2], 0, 2), tensor("U8", [2], 0, 2), 2)],
  ["metadata that is a list", safetensorsFile('{"__metadata__":[]}')],
  ["metadata with a number in it", safetensorsFile('{"__metadata__":{"a":1}}')],
];

describe("readSafetensors refuses", () => {
  it.each(MALFORMED)("%s", async (_, bytes, code = "weights_malformed") => {
    const error = await read(bytes).then(
      () => undefined,
      (reason) => reason,
    );
    expect(error).toBeInstanceOf(OryxError);
    expect(error.code).toBe(code);
    expect(error.message).toContain("a.safetensors");
  });

  it("more tensors than the limit, in a header of allowed length", async () => {
    const entries = Array.from(
      { length: LIMITS.tensorsPerFile + 1 },
      (_, i) => `"${i}":${tensor("U8", [0], 0, 0)}`,
    );
    await expect(read(safetensorsFile(`{${entries.join(",")}}`))).rejects.toMatchObject({
      code: "weights_malformed",
    });
  });

  it("a path that is not there, and one that is a folder", async () => {
    await expect(readSafetensors(join(dir, "none"))).rejects.toMatchObject({ code: "model_missing" });
    await expect(readSafetensors(dir)).rejects.toMatchObject({ code: "weights_malformed" });
  });
});

describe("readSafetensors accepts", () => {
  it("an empty file of the format, padding, scalars, empty tensors and tensors listed out of order", async () => {
    expect(await read(safetensorsFile("{}   "))).toEqual(new Map());
    const header = `{"b":${tensor("I64", [], 4, 12)},"__proto__":${tensor("F32", [0, 7], 4, 4)},"a":${tensor("U8", [2, 2], 0, 4)}}`;
    const tensors = await read(safetensorsFile(header, 12));
    expect([...tensors.keys()]).toEqual(["b", "__proto__", "a"]);
    expect(tensors.get("a")).toEqual({ dtype: "u8", shape: [2, 2], bytes: Uint8Array.of(0, 1, 2, 3) });
    expect(tensors.get("b")?.bytes).toEqual(Uint8Array.of(4, 5, 6, 7, 8, 9, 10, 11));
    expect(tensors.get("__proto__")).toEqual({ dtype: "f32", shape: [0, 7], bytes: new Uint8Array(0) });
  });
});

const dtypes = Object.keys(DTYPE_BYTES) as DType[];
const anyTensor = fc
  .tuple(fc.constantFrom(...dtypes), fc.array(fc.nat(3), { maxLength: 3 }))
  .chain(([dtype, shape]) => {
    const length = shape.reduce((n, d) => n * d, DTYPE_BYTES[dtype]);
    return fc
      .uint8Array({ minLength: length, maxLength: length })
      .map((bytes): StoredTensor => ({ dtype, shape, bytes }));
  });
const anyTensors = fc
  .array(
    fc.tuple(
      fc.string({ unit: "binary" }).filter((name) => name !== "__metadata__"),
      anyTensor,
    ),
    { maxLength: 6 },
  )
  .map((entries) => new Map(entries));

describe("writeSafetensors", () => {
  it("writes what readSafetensors reads back, every tensor aligned to its elements", async () => {
    const path = join(dir, "round.safetensors");
    await fc.assert(
      fc.asyncProperty(anyTensors, fc.dictionary(fc.string(), fc.string()), async (tensors, metadata) => {
        await writeSafetensors(path, tensors, metadata);
        const back = await read(new Uint8Array(await readFile(path)));
        expect(new Set(back.keys())).toEqual(new Set(tensors.keys()));
        for (const [name, expected] of tensors) expect(back.get(name)).toEqual(expected);
        for (const { dtype, bytes } of (await readSafetensors(path)).values()) {
          expect("offset" in bytes && bytes.offset % DTYPE_BYTES[dtype]).toBe(0);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("writes the bytes of the format", async () => {
    const path = join(dir, "bytes.safetensors");
    const stored = asStored({ dtype: "u8", shape: [3], data: Uint8Array.of(7, 8, 9) });
    await writeSafetensors(path, new Map([["a", stored]]), { format: "pt" });
    const header = '{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}';
    const padded = utf8(header.padEnd(Math.ceil(header.length / 8) * 8));
    expect(new Uint8Array(await readFile(path))).toEqual(
      concat(littleEndian(padded.length, 8), padded, [7, 8, 9]),
    );
  });

  it("streams tensors out of another file, replaces a file, and leaves nothing beside it", async () => {
    const from = join(dir, "from.safetensors");
    const to = join(dir, "to.safetensors");
    await writeFile(to, "old");
    const data = Float32Array.from({ length: 1000 }, (_, i) => i / 7);
    await writeSafetensors(from, new Map([["x", asStored({ dtype: "f32", shape: [10, 100], data })]]));
    await writeSafetensors(to, await readSafetensors(from));
    const back = await loadTensor((await readSafetensors(to)).get("x")!);
    expect(back).toEqual({ dtype: "f32", shape: [10, 100], data });
    expect((await readdir(dir)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("leaves the old file whole when a source has become shorter, and reports it", async () => {
    const from = join(dir, "short.safetensors");
    const to = join(dir, "kept.safetensors");
    await writeFile(to, "old");
    await writeSafetensors(from, new Map([["x", { dtype: "u8", shape: [100], bytes: new Uint8Array(100) }]]));
    const tensors = await readSafetensors(from);
    await truncate(from, 120);
    await expect(writeSafetensors(to, tensors)).rejects.toMatchObject({ code: "weights_malformed" });
    await expect(loadTensor(tensors.get("x")!)).rejects.toMatchObject({ code: "weights_malformed" });
    expect(await readFile(to, "utf8")).toBe("old");
    expect((await readdir(dir)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it.each([
    ["bytes that do not fit the shape", "a", { dtype: "f32", shape: [2], bytes: new Uint8Array(4) }],
    ["a negative dimension", "a", { dtype: "u8", shape: [-1, -1], bytes: new Uint8Array(1) }],
    ["the reserved name", "__metadata__", { dtype: "u8", shape: [1], bytes: new Uint8Array(1) }],
  ] as const)("refuses %s", async (_, name, stored) => {
    const writing = writeSafetensors(join(dir, "never"), new Map([[name, stored]]));
    await expect(writing).rejects.toMatchObject({ code: "bad_option" });
  });

  it("reports a folder that is not there", async () => {
    await expect(writeSafetensors(join(dir, "no", "a"), new Map())).rejects.toMatchObject({ code: "disk" });
  });
});

describe("readSafetensors on damaged files", () => {
  const header = `{"__metadata__":{"format":"pt"},"x":${tensor("BF16", [2, 3], 0, 12)},"y":${tensor("F32", [4], 12, 28)}}`;
  const sound = safetensorsFile(header, 28);

  it("gives tensors inside the file or a coded error for any flipped bits", async () => {
    const flips = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(flips, async (changes) => {
        const bytes = sound.slice();
        for (const [at, mask] of changes) bytes[at]! ^= mask;
        await expectSound(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it("gives a coded error for every truncation", async () => {
    for (let length = 0; length < sound.length; length++) {
      await expect(read(sound.subarray(0, length))).rejects.toBeInstanceOf(OryxError);
    }
  });

  async function expectSound(bytes: Uint8Array): Promise<void> {
    try {
      for (const stored of (await read(bytes)).values()) await loadTensor(stored);
    } catch (error) {
      expect(error).toBeInstanceOf(OryxError);
    }
  }
});
