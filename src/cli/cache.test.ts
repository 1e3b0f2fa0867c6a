import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { RecordedIo } from "../../test/support/recorded-io.ts";
import { main } from "./main.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const PHOTO = `${GOLDEN}/media/image.png`;

let dir: string;
beforeAll(() => {
  vi.stubEnv("ORYX_CACHE", ""); // off in all other tests, which nothing overrides
  dir = mkdtempSync(join(tmpdir(), "oryx-cache-"));
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
});

async function run(words: readonly string[], env: Record<string, string> = {}, input = "") {
  const io = new RecordedIo({
    env: { ORYX_CACHE: "", ORYX_CACHE_DIR: dir, ORYX_MODEL: GOLDEN, ...env },
    input,
  });
  const exitCode = await main(words, io);
  return { exitCode, out: io.out, err: io.err };
}

const ask = (...more: string[]) => run(["ask", PHOTO, "What is it?", "--max-tokens", "4", "--json", ...more]);
const json = (text: string) => JSON.parse(text.trim().split("\n").at(-1) as string);

describe("oryx cache", () => {
  it("tells of an empty cache", async () => {
    expect((await run(["cache", "ls"])).out).toBe(`${dir}: 0 entries, 0 bytes of at most 10.0 GB\n`);
    expect((await run(["cache", "clear"])).out).toBe(`${dir}: 0 entries removed, 0 bytes\n`);
  });

  it("fills as questions are asked, and not with --no-cache or ORYX_CACHE=off", async () => {
    await ask("--no-cache");
    await run(["ask", PHOTO, "What is it?", "--max-tokens", "4"], { ORYX_CACHE: "off" });
    expect(existsSync(join(dir, "entries"))).toBe(false);
    const first = json((await ask()).out);
    expect(first.reused).toEqual({ pictures: 0, promptTokens: 0 });
    const again = json((await ask()).out);
    expect(again.reused.pictures).toBe(1);
    expect(again.answer).toBe(first.answer);
    expect(json((await ask("--no-cache")).out)).toMatchObject({
      answer: first.answer,
      reused: { pictures: 0, promptTokens: 0 },
    });
    const chat = await run(["chat", PHOTO, "--max-tokens", "4", "--json"], {}, "What is it?\n");
    expect(json(chat.out).reused.pictures).toBe(1);
  });

  it("lists what there is", async () => {
    const { out } = await run(["cache", "ls"]);
    expect(out).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d +\d+\.\d kB {2}keys and values of a prompt [0-9a-f]{12}$/m,
    );
    expect(out).toMatch(/^\d{4}.* features of an image or video [0-9a-f]{12}$/m);
    expect(out).toMatch(/\d+ hashes of files\n.*: \d+ entries, [\d.]+ kB of at most 10\.0 GB\n$/);
    const listed = json((await run(["cache", "ls", "--json"])).out);
    expect(listed.dir).toBe(dir);
    expect(listed.entries).toHaveLength(readdirSync(join(dir, "entries")).length);
    expect(listed.bytes).toBe(
      listed.entries.reduce((sum: number, entry: { bytes: number }) => sum + entry.bytes, 0),
    );
  });

  it("is cleared, also by the name of its folder", async () => {
    const { entries } = json((await run(["cache", "ls", "--json"])).out);
    const cleared = await run(["cache", "clear", "--json", "--dir", dir], { ORYX_CACHE_DIR: "/nowhere" });
    expect(json(cleared.out)).toMatchObject({ dir, entries: entries.length });
    expect(readdirSync(join(dir, "entries"))).toEqual([]);
    expect(json((await ask()).out).reused.pictures).toBe(0);
  });

  it("is off where the environment says so", async () => {
    const { exitCode, err } = await run(["cache", "ls"], { ORYX_CACHE: "off" });
    expect(exitCode).toBe(2);
    expect(err).toContain("nothing is kept");
  });

  it("tells what is private about it", async () => {
    expect((await run(["cache", "--help"])).out).toMatch(/made from pictures[\s\S]*only you can read/);
  });
});
