import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { COMMIT, FakeHub } from "../../test/support/fake-hub.ts";
import { RecordedIo, type Setting } from "../../test/support/recorded-io.ts";
import { main } from "./main.ts";

let hub: FakeHub;
let cacheDir: string;

beforeEach(async () => {
  hub = await FakeHub.start();
  cacheDir = await mkdtemp(join(tmpdir(), "oryx-pull-"));
});

afterEach(async () => {
  await hub.stop();
  await rm(cacheDir, { recursive: true });
});

async function pull(words: readonly string[], setting: Setting = {}) {
  const io = new RecordedIo({ ...setting, env: { HF_ENDPOINT: hub.endpoint } });
  return { io, exitCode: await main(["pull", ...words, "--cache-dir", cacheDir], io) };
}

describe("oryx pull", () => {
  it("prints the folder that it filled", async () => {
    const { io, exitCode } = await pull(["org/tiny"]);
    expect(io.out).toBe(`${join(cacheDir, "models--org--tiny", "snapshots", COMMIT)}\n`);
    expect([io.err, exitCode]).toEqual(["", 0]);
  });

  it("prints folder, commit and files as JSON", async () => {
    const { io } = await pull(["org/tiny", "--json"]);
    expect(JSON.parse(io.out)).toMatchObject({
      commit: COMMIT,
      files: expect.arrayContaining(["config.json"]),
    });
  });

  it("shows bytes on a terminal, of which nothing stays", async () => {
    const { io } = await pull(["org/tiny"], { terminal: true });
    expect(io.err).toMatch(/ of [\d.]+ (k|M)B in all/);
    expect(io.screen).toEqual([]);
  });

  it("passes --revision on", async () => {
    const { io, exitCode } = await pull(["org/tiny", "--revision", "../up"]);
    expect(io.err).toMatch(/^error\[hub_invalid_id\]/);
    expect(exitCode).toBe(1);
  });
});
