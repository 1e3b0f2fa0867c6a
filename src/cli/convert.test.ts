import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RecordedIo, type Setting } from "../../test/support/recorded-io.ts";
import { main } from "./main.ts";

const QWEN = "test/fixtures/oryx-qwen-tiny";
const LLAMA = "test/fixtures/oryx-llama-tiny";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-convert-cli-"));
});
afterAll(() => rm(root, { recursive: true }));

async function run(words: readonly string[], setting: Setting = {}) {
  const io = new RecordedIo(setting);
  return { io, exitCode: await main(words, io), out: io.out, err: io.err };
}

describe("oryx convert", () => {
  it("prints the folder, and says what it decided and how large it is", async () => {
    const path = join(root, "llama");
    const { exitCode, out, err } = await run(["convert", LLAMA, path, "--weights", "q4"]);
    expect([exitCode, out]).toEqual([0, `${path}\n`]);
    expect(err).toMatch(/^note: model\.layers\.0\.mlp\.down_proj\.weight is int8: its 112 columns/m);
    expect(err).toMatch(
      /^converted: [\d.]+ kB of weights, 90\d\.\d kB with the tokenizer and all; weights q4, vision w8$/m,
    );
  });

  it("prints what it made as JSON", async () => {
    const path = join(root, "json");
    const words = ["convert", QWEN, path, "--json", "--keep", "*k_proj*", "--keep", "lm_head.weight"];
    const { exitCode, out, err } = await run(words);
    expect(JSON.parse(out)).toEqual({
      path,
      source: { name: "oryx-qwen-tiny" },
      weights: "auto",
      vision: "w8",
      keep: ["*k_proj*", "lm_head.weight"],
      block: 32,
      bytes: expect.any(Number),
      notes: [],
      coarse: [],
      resumed: 0,
    });
    expect([exitCode, err]).toEqual([0, ""]);
  });

  it("shows progress on a terminal, of which only the summary stays", async () => {
    const { io } = await run(["convert", QWEN, join(root, "seen")], { terminal: true });
    expect(io.err).toMatch(/converting: [\d.]+ [kM]B of 1\.1 MB/);
    expect(io.screen).toEqual([expect.stringMatching(/^converted: /)]);
  });

  it("says how to go on after Ctrl-C, and goes on", async () => {
    const path = join(root, "stopped");
    const io = new RecordedIo({ terminal: true });
    const write = io.stderr.write.bind(io.stderr);
    io.stderr.write = (text: string) => {
      if (text.includes("converting")) io.interrupt();
      return write(text);
    };
    expect(await main(["convert", QWEN, path], io)).toBe(130);
    expect(io.screen).toEqual(["stopped; give the same command again to go on"]);
    expect((await readdir(root)).filter((name) => name.startsWith("stopped"))).toEqual(["stopped.partial"]);
    expect((await run(["convert", QWEN, path])).exitCode).toBe(0);
  });

  it.each([
    [["convert", QWEN], /missing required argument 'out'/],
    [["convert", QWEN, "x", "--weights", "q3"], /Allowed choices are auto, q4, w8, f16, f32/],
    [["convert", QWEN, "x", "--block", "48"], /Give 32, 64 or 128/],
    [["convert", QWEN, "x", "--weights", "w8", "--block", "64"], /4-bit weights, and w8 has none/],
    [["convert", QWEN, "x", "--keep", "*proj"], /error\[bad_option\]: no matrix is called "\*proj"/],
    [["convert", QWEN, QWEN], /is there already, and is no converted model/],
    [["info", QWEN, "--check"], /comes without hashes/],
  ])("%j is told in a line and exits with 2", async (words, told) => {
    const { exitCode, err } = await run(words);
    expect(err).toMatch(told);
    expect(exitCode).toBe(2);
  });
});

describe("oryx info of a converted model", () => {
  it("says what it was made from, how it is stored and what rounding lost", async () => {
    const path = join(root, "told");
    await run(["convert", QWEN, path]);
    const facts = JSON.parse((await run(["info", path, "--check", "--json"])).out);
    const published = JSON.parse((await run(["info", QWEN, "--json"])).out);
    expect(facts.parameters).toEqual(published.parameters);
    expect(facts.converted).toMatchObject({ format: 1, weights: "auto", vision: "w8", isChecked: true });
    expect(facts.converted.worst.int4).toHaveLength(5);
    const { bytes } = facts.converted;
    expect(bytes.dense + bytes.int4 + bytes.int8).toBe(facts.weights.bytes);
    expect(facts.memory).toMatchObject({ weightsAs: "stored", weightsBytes: facts.weights.bytes });
    const { out } = await run(["info", path]);
    expect(out).toMatch(/^memory: +about [\d.]+ kB for weights as stored, /m);
    expect(out).toMatch(/^converted: +from oryx-qwen-tiny, format 1, weights auto, vision w8$/m);
    expect(out).toMatch(/^int4 loss: +at most \d\.\d\d% model\.layers/m);
  });

  it("says how large the blocks are that were asked for, and those that there are", async () => {
    const path = join(root, "blocks");
    const { err } = await run(["convert", LLAMA, path, "--weights", "q4", "--block", "128"]);
    expect(err).toMatch(/^note: model\.embed_tokens\.weight has blocks of 64: its 64 columns/m);
    const { converted } = JSON.parse((await run(["info", path, "--json"])).out);
    expect(converted).toMatchObject({ block: 128, int4Blocks: [64] });
    expect((await run(["info", path])).out).toMatch(/^stored: .*int4 [\d.]+ kB in blocks of 64$/m);
  });

  it("--check tells of a flipped byte", async () => {
    const path = join(root, "flipped");
    await run(["convert", QWEN, path]);
    const file = join(path, "int4.safetensors");
    const bytes = await readFile(file);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    await writeFile(file, bytes);
    expect((await run(["info", path])).exitCode).toBe(0);
    const { exitCode, err } = await run(["info", path, "--check"]);
    expect(err).toMatch(/^error\[weights_malformed\]: .*tensor "[^"]+" is damaged/);
    expect(exitCode).toBe(1);
  });
});
