import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const QWEN = "test/fixtures/oryx-qwen-tiny";

/** Runs the built command, and kills it as soon as its journal has so many lines. */
async function convert(out: string, killAtLine: number, ...words: string[]): Promise<number | null> {
  const child = spawn(process.execPath, ["bin/oryx.js", "convert", QWEN, out, "--quiet", ...words]);
  const watch = setInterval(async () => {
    const lines = await readFile(join(`${out}.partial`, "journal.jsonl"), "utf8").catch(() => "");
    if (lines.split("\n").length > killAtLine) child.kill("SIGKILL");
  }, 1);
  const code = await new Promise<number | null>((done) => child.on("close", done));
  clearInterval(watch);
  return code;
}

async function digestOf(dir: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(dir)).sort()) hash.update(name).update(await readFile(join(dir, name)));
  return hash.digest("hex");
}

// Skipped only in a working tree that has not been built: threads run the built program.
describe.skipIf(!existsSync("dist/convert/thread.js"))("a conversion in a process of its own", () => {
  it("makes the same bytes with one thread, with several, and when it was killed on the way", async () => {
    const root = await mkdtemp(join(tmpdir(), "oryx-kill-"));
    const never = Number.POSITIVE_INFINITY;
    expect(await convert(join(root, "one"), never, "--threads", "1")).toBe(0);
    expect(await convert(join(root, "three"), never, "--threads", "3")).toBe(0);
    expect(await convert(join(root, "killed"), 1, "--threads", "1")).toBe(null); // by its signal
    await convert(join(root, "killed"), 20);
    if (!existsSync(join(root, "killed"))) expect(await convert(join(root, "killed"), never)).toBe(0);
    const [one, three, killed] = await Promise.all(
      ["one", "three", "killed"].map((d) => digestOf(join(root, d))),
    );
    expect([three, killed]).toEqual([one, one]);
    await rm(root, { recursive: true });
  });
});
