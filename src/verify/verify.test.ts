import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterEach, describe, expect, it } from "vitest";
import { DTYPE_BYTES } from "../core/dtype.ts";
import type { FileRange, StoredTensor } from "../core/tensor.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import type { Check, VerifyReport } from "./report.ts";
import { verify } from "./verify.ts";

const QWEN = "test/fixtures/oryx-qwen-tiny";
const LLAMA = "test/fixtures/oryx-llama-tiny";

const temporary: string[] = [];
afterEach(() => Promise.all(temporary.splice(0).map((dir) => rm(dir, { recursive: true }))));

/** A copy of a reference folder that a test may damage. */
async function copyOf(golden: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "oryx-verify-"));
  temporary.push(dir);
  await cp(golden, dir, { recursive: true });
  return dir;
}

type Json = ReturnType<typeof JSON.parse>;

async function editCases(dir: string, edit: (cases: Json) => void): Promise<void> {
  const path = join(dir, "cases.json");
  const json = JSON.parse(await readFile(path, "utf8"));
  edit(json);
  await writeFile(path, JSON.stringify(json));
}

/** Changes the bytes of one tensor of a safetensors file, found by its header. */
async function editTensor(path: string, name: string, edit: (bytes: DataView) => void): Promise<void> {
  const file = await readFile(path);
  const length = Number(file.readBigUInt64LE(0));
  const [begin, end] = JSON.parse(file.toString("utf8", 8, 8 + length))[name].data_offsets;
  edit(new DataView(file.buffer, file.byteOffset + 8 + length + begin, end - begin));
  await writeFile(path, file);
}

const failures = ({ checks }: VerifyReport): string[] =>
  checks.filter((c) => !c.passed).map((c) => `${c.case}.${c.name}`);

const find = ({ checks }: VerifyReport, of: string, name: string): Check =>
  checks.find((c) => c.case === of && c.name === name) as Check;

describe("a model that is what its reference says", () => {
  it.each([QWEN, LLAMA])("%s passes every check of every stage", async (dir) => {
    const report = await verify(dir);
    const { cases, stages } = JSON.parse(await readFile(join(dir, "cases.json"), "utf8"));
    expect(failures(report)).toEqual([]);
    expect(report.passed).toBe(true);
    // Every stage, and for each case its tokens, its length and its answer.
    expect(report.checks).toHaveLength(Object.keys(stages).length + 3 * cases.length);
    for (const { finding } of report.checks) {
      if (finding.kind === "relative") expect(finding.error).toBeGreaterThan(0); // the reference is another program
    }
  });

  it("generates the same in small chunks and without a cache", async () => {
    const report = await verify(LLAMA, { only: "video_long", thorough: true });
    expect(failures(report)).toEqual([]);
    expect(find(report, "video_long", "greedy_chunked").passed).toBe(true);
    expect(find(report, "video_long", "greedy_uncached").passed).toBe(true);
  });

  it("puts every image of a case in its place", async () => {
    const dir = await copyOf(QWEN);
    await editCases(dir, (json) => {
      json.cases = [{ ...json.cases[0], name: "two", media: ["image.png", "wide.png"] }];
      json.stages = {};
    });
    const report = await verify(dir);
    const { finding } = find(report, "two", "input_ids");
    const ids = finding.kind === "tokens" ? finding.actual : [];
    expect(ids.filter((id) => id === -200)).toHaveLength(2);
    // As many rows as each has alone in the reference.
    expect(find(report, "two", "sequence_length").finding).toMatchObject({
      actual: ids.length - 2 + 673 + 625,
    });
  });

  it("passes when fewer stages are kept, at another stride", async () => {
    const dir = await copyOf(QWEN);
    const path = join(dir, "expected.safetensors");
    const file = await readFile(path);
    const length = Number(file.readBigUInt64LE(0));
    const [begin, end] = JSON.parse(file.toString("utf8", 8, 8 + length))["text.logits_last"].data_offsets;
    const all = new Float32Array(
      file.buffer.slice(file.byteOffset + 8 + length + begin, file.byteOffset + 8 + length + end),
    );
    const kept = all.filter((_, i) => i % 5 === 0);
    const shape = [kept.length];
    const header = JSON.stringify({
      "text.logits_last": { dtype: "F32", shape, data_offsets: [0, kept.byteLength] },
    });
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(header.length));
    await writeFile(path, Buffer.concat([size, Buffer.from(header), Buffer.from(kept.buffer)]));
    await editCases(dir, (json) => {
      json.cases = json.cases.filter((c: Json) => c.name === "text");
      json.stages = { "text.logits_last": { shape: [all.length], stride: 5 } };
    });
    const report = await verify(dir);
    expect(report.checks.map((c) => c.name)).toEqual([
      "input_ids",
      "sequence_length",
      "logits_last",
      "greedy",
    ]);
    expect(failures(report)).toEqual([]);
  });
});

describe("a model that is not", () => {
  it("fails from the logits on when one bit of a language weight is flipped", async () => {
    const dir = await copyOf(LLAMA);
    const name = "model.layers.1.self_attn.v_proj.weight";
    await editTensor(join(dir, "model.safetensors"), name, (bytes) =>
      bytes.setUint8(3, bytes.getUint8(3) ^ 0x80),
    );
    expect(failures(await verify(dir, { only: "text" }))).toContain("text.logits_last");
  });

  it("fails from the vision tower on when one bit of its weights is flipped", async () => {
    const dir = await copyOf(LLAMA);
    const { vision } = await openCheckpoint(dir);
    const weight = vision.get("blocks.0.mlp.fc1.weight") as StoredTensor;
    const { path, offset } = weight.bytes as FileRange;
    const file = await readFile(path);
    const sign = offset + DTYPE_BYTES[weight.dtype] - 1;
    file[sign] = (file[sign] as number) ^ 0x80;
    await writeFile(path, file);
    const failed = failures(await verify(dir, { only: "video_long" }));
    expect(failed).toEqual(expect.arrayContaining(["video_long.vit", "video_long.visual_tokens"]));
    expect(failed).not.toContain("video_long.pixels");
  });

  it("fails at the one stage whose expected values were changed", async () => {
    const dir = await copyOf(QWEN);
    await editTensor(join(dir, "expected.safetensors"), "video_long.compressed", (bytes) => {
      for (let i = 0; i < bytes.byteLength; i += 4)
        bytes.setFloat32(i, bytes.getFloat32(i, true) * 1.001, true);
    });
    expect(failures(await verify(dir, { only: "video_long" }))).toEqual(["video_long.compressed"]);
  });

  it("fails at the one token of the answer that was changed", async () => {
    const dir = await copyOf(QWEN);
    await editCases(dir, (json) => json.cases.find((c: Json) => c.name === "text").greedy[3]++);
    const report = await verify(dir, { only: "text" });
    expect(failures(report)).toEqual(["text.greedy"]);
    expect(find(report, "text", "greedy").finding).toMatchObject({ at: 3 });
  });

  it("fails at an answer that ends without its stop token, or goes on after it", async () => {
    const dir = await copyOf(LLAMA);
    const edit = (change: (greedy: number[]) => void) =>
      editCases(dir, (json) => change(json.cases.find((c: Json) => c.name === "video_long").greedy));
    await edit((greedy) => greedy.push(7));
    expect(failures(await verify(dir, { only: "video_long" }))).toEqual(["video_long.greedy"]);
  });

  it("fails at the pixels when one pixel of an image was changed by one level", async () => {
    const dir = await copyOf(QWEN);
    const path = join(dir, "media", "image.png");
    const { data, info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
    data[0] = data[0] === 255 ? 254 : (data[0] as number) + 1;
    const { width, height, channels } = info;
    await sharp(data, { raw: { width, height, channels } })
      .png()
      .toFile(join(dir, "media", "changed.png"));
    await editCases(dir, (json) => {
      json.cases.find((c: Json) => c.name === "image").media = ["changed.png"];
    });
    const report = await verify(dir, { only: "image" });
    expect(find(report, "image", "pixels_high").finding).toEqual({ kind: "levels", differing: 1, most: 1 });
  });

  it("fails at a prompt that its tokenizer encodes otherwise, and says where", async () => {
    const dir = await copyOf(QWEN);
    await editCases(dir, (json) => {
      json.cases.find((c: Json) => c.name === "text").prompt = "What should I do? List the actions above.";
    });
    expect(failures(await verify(dir, { only: "text" }))).toContain("text.input_ids");
  });

  it("fails at a stage of another shape, instead of comparing what it can", async () => {
    const dir = await copyOf(QWEN);
    await editCases(dir, (json) => {
      json.stages["video_long.compressed"].shape = [5, 64, 8];
    });
    const report = await verify(dir, { only: "video_long" });
    expect(find(report, "video_long", "compressed").finding).toEqual({
      kind: "shape",
      actual: [5, 8, 64],
      expected: [5, 64, 8],
    });
  });
});

describe("a reference that is malformed", () => {
  const spoilt: [string, (json: Json) => void][] = [
    [
      "a stage that no version of ours computes",
      (json) => (json.stages["text.attention"] = { shape: [1], stride: 1 }),
    ],
    ["a stage of another kind of case", (json) => (json.stages["text.vit"] = { shape: [1], stride: 1 })],
    ["a stage of no case", (json) => (json.stages["nothing.logits_last"] = { shape: [1], stride: 1 })],
    ["a stride of 0", (json) => (json.stages["text.logits_last"].stride = 0)],
    ["a shape that the kept elements do not fit", (json) => (json.stages["text.logits_last"].shape = [1e15])],
    ["two cases of one name", (json) => json.cases.push(json.cases[0])],
    ["no cases", (json) => (json.cases = [])],
    ["an unknown modality", (json) => (json.cases[0].modality = "sound")],
    ["an image case without an image", (json) => (json.cases[0].media = [])],
    ["a medium outside the folder", (json) => (json.cases[0].media = ["../../secret.png"])],
    ["tokens that are text", (json) => (json.cases[0].greedy = ["a"])],
  ];

  it.each(spoilt)("is refused: %s", async (_, spoil) => {
    const dir = await copyOf(QWEN);
    await editCases(dir, spoil);
    await expect(verify(dir)).rejects.toMatchObject({ name: "OryxError", code: "golden_invalid" });
  });

  it.each(["cases.json", "expected.safetensors"])("is refused without %s", async (file) => {
    const dir = await copyOf(QWEN);
    await rm(join(dir, file));
    await expect(verify(dir)).rejects.toMatchObject({ code: "golden_invalid" });
    await writeFile(join(dir, file), "{");
    await expect(verify(dir)).rejects.toMatchObject({ code: "golden_invalid" });
  });

  it("is refused when a case is asked for that it does not have", async () => {
    await expect(verify(QWEN, { only: "imago" })).rejects.toMatchObject({ code: "bad_option" });
  });
});
