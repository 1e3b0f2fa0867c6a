import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { RecordedIo } from "../../test/support/recorded-io.ts";
import { main } from "./main.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";

async function run(...words: string[]) {
  const io = new RecordedIo();
  return { exitCode: await main(words, io), out: io.out, err: io.err };
}

/** Does `use` with a copy of the reference in which one token of the answer to the text is another. */
async function withWrongToken(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "oryx-cli-verify-"));
  try {
    await cp(GOLDEN, dir, { recursive: true });
    const path = join(dir, "cases.json");
    const json = JSON.parse(await readFile(path, "utf8"));
    json.cases.find((c: { name: string }) => c.name === "text").greedy[2] = 0;
    await writeFile(path, JSON.stringify(json));
    await use(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

describe("oryx verify", () => {
  it("prints a line for each check and ends with 0 when all hold", async () => {
    const { out, err, exitCode } = await run("verify", GOLDEN, "--only", "text");
    expect(out).toMatch(/^text {2}input_ids {8}✓ 33 tokens\n/);
    expect(out).toMatch(/^text {2}logits_last {6}✓ \d\.\de-\d$/m);
    expect(out).toMatch(/\n4 checks passed\n$/);
    expect([err, exitCode]).toEqual(["", 0]);
  });

  it("trains as the reference did", async () => {
    const { out, err, exitCode } = await run(
      "verify",
      GOLDEN,
      "--train",
      "--only",
      "align",
      "--threads",
      "1",
    );
    expect(out).toMatch(/^align {5}loss 5 {8}✓ 7\.5498\d+ for 7\.5498\d+, off by \d\.\de-\d$/m);
    expect(out).toMatch(/\n27 checks passed\n$/);
    expect([err, exitCode]).toEqual(["", 0]);
    const bad = await run("verify", GOLDEN, "--train", "--thorough");
    expect([bad.err.includes("does not go with"), bad.exitCode]).toEqual([true, 2]);
  });

  it("marks what fails and ends with 1", async () => {
    await withWrongToken(async (dir) => {
      const { out, err, exitCode } = await run("verify", dir, "--only", "text");
      expect(out).toMatch(/^text {2}greedy {11}✗ token 2 is \d+ instead of 0$/m);
      expect(err).toMatch(/^error\[verify_failed\]: 1 of 4 checks failed\. [^\n]+\n$/);
      expect(exitCode).toBe(1);
    });
  });

  it("prints one JSON object, also when a check fails", async () => {
    const report = JSON.parse((await run("verify", GOLDEN, "--only", "text", "--json")).out);
    expect(report).toMatchObject({ dir: GOLDEN, device: "cpu", passed: true });
    expect(report.checks).toHaveLength(4);
    await withWrongToken(async (dir) => {
      const { out, exitCode } = await run("verify", dir, "--only", "text", "--json");
      expect(JSON.parse(out)).toMatchObject({ passed: false, error: { code: "verify_failed" } });
      expect(exitCode).toBe(1);
    });
  });

  it("ends with 2 when a case is asked for that is not there", async () => {
    const { err, exitCode } = await run("verify", GOLDEN, "--only", "imago");
    expect(err).toContain('there is no case "imago"');
    expect(exitCode).toBe(2);
  });
});

describe("oryx verify --model", () => {
  const compare = (...words: string[]) => run("verify", GOLDEN, "--only", "text", "--model", ...words);

  /** Does `use` with a copy of the model that answers otherwise: its output rows are in another order. */
  async function withOtherModel(use: (dir: string) => Promise<void>): Promise<void> {
    const dir = await mkdtemp(join(tmpdir(), "oryx-cli-agreement-"));
    try {
      await cp(GOLDEN, dir, { recursive: true });
      const path = join(dir, "model-00001-of-00002.safetensors"); // it has the output layer
      const file = await readFile(path);
      const start = 8 + Number(file.readBigUInt64LE(0));
      const [begin, end] = JSON.parse(file.toString("utf8", 8, start))["lm_head.weight"].data_offsets;
      const rows = file.subarray(start + begin, start + end);
      const half = rows.length / 2;
      Buffer.concat([rows.subarray(half), rows.subarray(0, half)]).copy(rows);
      await writeFile(path, file);
      await use(dir);
    } finally {
      await rm(dir, { recursive: true });
    }
  }

  it("tells how often both say the same", async () => {
    const { out, exitCode } = await compare(GOLDEN, "--at-least", "100");
    expect(out).toMatch(/^text +100\.0% of 64 tokens, logits differ by 0\.0%\n.* 100\.0% of all places\n$/);
    expect(exitCode).toBe(0);
  });

  it("fails below --at-least only", async () => {
    await withOtherModel(async (dir) => {
      expect((await compare(dir)).exitCode).toBe(0);
      const { err, exitCode } = await compare(dir, "--at-least", "90");
      expect(err).toMatch(/^error\[verify_failed\]: .* in \d+\.\d% of all places, not in 90%\./);
      expect(exitCode).toBe(1);
      const json = await compare(dir, "--at-least", "90", "--json");
      expect(JSON.parse(json.out)).toMatchObject({
        cases: [{ of: "text" }],
        error: { code: "verify_failed" },
      });
    });
  });

  it("refuses another model", async () => {
    const { err, exitCode } = await compare("test/fixtures/oryx-llama-tiny");
    expect(err).toMatch(
      /^error\[weights_mismatch\]: .* family llama instead of qwen, .*hidden size 64 instead of 96\. /,
    );
    expect(exitCode).toBe(1);
  });
});

describe("oryx bench", () => {
  const film = "test/fixtures/videos/h264-bframes.mp4";

  it("prints the figures of a video as text or JSON", async () => {
    const { out, exitCode } = await run("bench", "video", film, "--max-frames", "3");
    expect(out).toMatch(/^3 frames at \d+x\d+ in \d+ ms/m);
    expect(exitCode).toBe(0);
    const report = JSON.parse((await run("bench", "video", film, "--max-frames", "3", "--json")).out);
    expect(report).toMatchObject({ bench: "video", file: film, frames: 3 });
  });

  it.each([
    ["llm", "--shape", "gpt-2"],
    ["llm", "--prompt", "128,x"],
    ["llm", "--slots", "8"],
    ["llm", "--steps", "0"],
    ["vision", "--side", "450"],
    ["vision", "--batch", ""],
    ["video"],
  ])("ends with 2 when called as bench %s %s %s", async (...words) => {
    expect((await run("bench", ...words)).exitCode).toBe(2);
  });
});
