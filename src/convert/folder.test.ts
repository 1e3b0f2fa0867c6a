import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { conversions, digestOf, errorOf, LAYER, Q4, QWEN } from "../../test/support/conversions.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { readManifest, verifyConverted } from "../weights/converted.ts";
import { convert } from "./convert.ts";

const { fresh, converted, names } = conversions();

async function flipByte(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at] = (bytes[at] as number) ^ 0x10;
  await writeFile(path, bytes);
}

describe("where it goes", () => {
  it("replaces only a converted model, and only when it is told to", async () => {
    const { out } = await converted(QWEN);
    const before = await digestOf(out);
    expect((await errorOf(convert(QWEN, out, { ...Q4, weights: "w8" }))).code).toBe("bad_option");
    expect(await digestOf(out)).toBe(before);
    await convert(QWEN, out, { ...Q4, weights: "w8", force: true });
    expect((await readManifest(out)).weights).toBe("w8");
    const other = fresh();
    await mkdir(other);
    await writeFile(join(other, "diary.txt"), "dear diary");
    expect((await errorOf(convert(QWEN, other, { ...Q4, force: true }))).code).toBe("bad_option");
    expect(await readdir(other)).toEqual(["diary.txt"]);
  });

  it("does not touch a folder OUT.partial that is somebody else's", async () => {
    const out = fresh();
    await mkdir(`${out}.partial`);
    await writeFile(join(`${out}.partial`, "diary.txt"), "dear diary");
    expect((await errorOf(convert(QWEN, out, Q4))).message).toMatch(/holds "diary\.txt"/);
    expect(await readdir(`${out}.partial`)).toEqual(["diary.txt"]);
  });

  it("does not convert what is converted", async () => {
    const { out } = await converted(QWEN);
    expect((await errorOf(convert(out, fresh(), Q4))).message).toMatch(/is converted already \(q4\)/);
  });

  it("lets one conversion at a time into a folder, and takes over from one that has died", async () => {
    const out = fresh();
    const both = await Promise.allSettled([convert(QWEN, out, Q4), convert(QWEN, out, Q4)]);
    const refused = both.filter((end) => end.status === "rejected").map(({ reason }) => reason.message);
    expect(refused).toEqual([`${out} is there already`]);
    const held = fresh();
    await writeFile(`${held}.lock`, `${process.pid} ${hostname()} x`);
    const holder = setTimeout(() => utimes(`${held}.lock`, new Date(), new Date()), 300);
    expect((await errorOf(convert(QWEN, held, Q4))).code).toBe("locked");
    clearTimeout(holder);
    expect(await names()).not.toContain(basename(`${held}.partial`));
    const dead = fresh();
    await writeFile(`${dead}.lock`, `${2 ** 30} ${hostname()} x`);
    await convert(QWEN, dead, Q4);
    expect((await stat(dead)).isDirectory()).toBe(true);
    const late = fresh();
    await writeFile(`${late}.lock`, "1 another-machine x");
    const minuteAgo = new Date(Date.now() - 60_000);
    await utimes(`${late}.lock`, minuteAgo, minuteAgo);
    await convert(QWEN, late, Q4);
    expect((await stat(late)).isDirectory()).toBe(true);
  });
});

describe("a converted folder", () => {
  it("with a flipped byte is told by the tensor's name", async () => {
    const { out } = await converted(QWEN, { weights: "auto" });
    const { language } = await openCheckpoint(out);
    const name = `${LAYER}.mlp.up_proj.weight.int8`;
    const { bytes } = language.get(name) as StoredTensor;
    if (bytes instanceof Uint8Array) throw new Error("not in a file");
    await flipByte(bytes.path, bytes.offset + 100);
    const error = await errorOf(verifyConverted(out));
    expect(error.code).toBe("weights_malformed");
    expect(error.message).toContain(`"${name}" is damaged`);
    const other = await converted(QWEN);
    await flipByte(join(other.out, "tokenizer.json"), 2000);
    expect((await errorOf(verifyConverted(other.out))).message).toMatch(/tokenizer\.json: not the file/);
  });

  const spoilt: [string, (manifest: Record<string, never>) => unknown, string, RegExp][] = [
    ["of a later format", (m) => ({ ...m, format: 2 }), "weights_unsupported", /format version 2, not 1/],
    ["without a format", () => ({}), "weights_unsupported", /format version none/],
    ["that lists nothing", (m) => ({ ...m, tensors: {} }), "weights_malformed", /is not the one that/],
    ["that lists no files", (m) => ({ ...m, files: [] }), "weights_malformed", /is listed but in no file/],
    [
      "with paths for names",
      (m) => ({ ...m, files: [{ name: "../x", bytes: 1 }] }),
      "weights_malformed",
      /name/,
    ],
    ["of blocks that are none", (m) => ({ ...m, block: 48 }), "weights_malformed", /block/],
    ["of other types", (m) => ({ ...m, weights: "q3" }), "weights_malformed", /weights/],
  ];
  it.each(spoilt)("with a manifest %s is refused", async (_, change, code, told) => {
    const { out } = await converted(QWEN);
    const path = join(out, "oryx-format.json");
    await writeFile(path, JSON.stringify(change(JSON.parse(await readFile(path, "utf8")))));
    const error = await errorOf(openCheckpoint(out));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(told);
  });

  it("whose config is another model's is told what is missing and misshapen", async () => {
    const { out } = await converted(QWEN);
    const path = join(out, "config.json");
    const config = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify({ ...config, num_hidden_layers: 3, intermediate_size: 192 }));
    const error = await errorOf(openCheckpoint(out));
    expect(error.code).toBe("weights_missing");
    expect(error.message).toMatch(/missing \(12\): "model\.layers\.2\.input_layernorm\.weight"/);
    expect(error.message).toMatch(
      /"model\.layers\.0\.mlp\.gate_proj\.weight" is f32 \[160,96\], not \[192,96\]/,
    );
  });

  it("that lacks a file is told so", async () => {
    const { out } = await converted(QWEN);
    await rm(join(out, "int4.safetensors"));
    expect((await errorOf(openCheckpoint(out))).code).toBe("weights_missing");
  });
});
