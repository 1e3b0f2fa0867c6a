import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { Oryx } from "./oryx.ts";

const VIDEO = "test/fixtures/videos/sample.mp4";
const request = { media: [VIDEO], question: "What?" };
let dir: string;
beforeAll(async () => {
  vi.stubEnv("ORYX_CACHE", ""); // off in all other tests, which nothing overrides
  dir = await mkdtemp(join(tmpdir(), "oryx-speed-"));
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(dir, { recursive: true });
});

const plans = async (threads: number, ...requests: object[]) => {
  const oryx = await Oryx.load("test/fixtures/oryx-qwen-tiny", {
    cache: { dir },
    threads,
    contextTokens: 2048,
  });
  const found = [];
  for (const asked of requests) found.push(await oryx.plan({ ...request, ...asked }));
  await oryx.close();
  return found.map(({ seconds }) => seconds);
};

it("a model's speed is measured when a budget asks for it, and known in other processes as long as it is the same", async () => {
  const [before, measured, after] = await plans(1, {}, { budgetSeconds: 1e6 }, {});
  expect(before).toBeUndefined();
  for (const stage of ["decode", "encode", "prefill"] as const) expect(measured?.[stage]).toBeGreaterThan(0);
  expect(after).toEqual(measured);
  expect(await plans(1, {})).toEqual([measured]);
  expect(await plans(2, {})).toEqual([undefined]);
});
