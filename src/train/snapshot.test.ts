import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Random } from "../core/random.ts";
import { newestSnapshot, type SnapshotFacts, saveSnapshot } from "./snapshot.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "oryx-snapshot-"));
});
afterEach(() => rm(dir, { recursive: true }));

const factsAt = (step: number): SnapshotFacts => ({
  step,
  stage: "1a",
  stageStep: step,
  updates: step,
  fingerprint: "of the recipe",
  skipped: { sample_too_long: step },
  tokens: 1000 * step,
  seconds: 1.5 * step,
  metricsBytes: 80 * step,
});

/** Odd lengths, and every bit pattern that f32 arithmetic would not keep. */
const arraysAt = (step: number) => {
  const random = new Random(step);
  const words = Uint32Array.from({ length: 301 }, () => random.bits());
  return {
    parameters: new Float32Array(words.buffer),
    m: new Float32Array([step, -0, Number.NaN]),
    v: new Float32Array(),
  };
};
const bitsOf = (array: Float32Array) =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("hex");

async function expectStep(step: number, onDamaged?: (problem: Error) => void): Promise<void> {
  const found = await newestSnapshot(dir, onDamaged);
  expect(found?.facts).toEqual(factsAt(step));
  for (const [name, array] of Object.entries(arraysAt(step))) {
    const into = new Float32Array(array.length);
    await found?.read(name, into);
    expect(bitsOf(into)).toBe(bitsOf(array));
  }
}

describe("a snapshot", () => {
  it("comes back to the bit", async () => {
    await saveSnapshot(dir, factsAt(7), arraysAt(7));
    await expectStep(7);
  });

  it("is not there in a folder that is empty, or is not there itself", async () => {
    expect(await newestSnapshot(dir)).toBeUndefined();
    expect(await newestSnapshot(join(dir, "nowhere"))).toBeUndefined();
  });

  it("drives out the oldest, and what a kill left behind", async () => {
    await mkdir(join(dir, ".writing-0123"));
    await writeFile(join(dir, ".writing-0123", "parameters.f32"), "half");
    for (const step of [9, 10, 100]) await saveSnapshot(dir, factsAt(step), arraysAt(step), { keep: 2 });
    expect(await readdir(dir)).toEqual(["step-000000010", "step-000000100"]);
    await expectStep(100);
  });

  it("drives out later ones, which were damaged, not two that are sound", async () => {
    for (const step of [4, 5, 9]) await saveSnapshot(dir, factsAt(step), arraysAt(step), { keep: 3 });
    await truncate(join(dir, "step-000000009", "m.f32"), 1);
    await saveSnapshot(dir, factsAt(6), arraysAt(6), { keep: 2 });
    expect(await readdir(dir)).toEqual(["step-000000005", "step-000000006"]);
    await expectStep(6);
  });

  it("takes the place of one of the same step", async () => {
    await saveSnapshot(dir, factsAt(3), { parameters: new Float32Array(5) });
    await saveSnapshot(dir, factsAt(3), arraysAt(3));
    expect(await readdir(dir)).toEqual(["step-000000003"]);
    await expectStep(3);
  });

  it("does not write again what is fixed, and shares no file with another that stays", async () => {
    const inodeAt = async (step: number, name: string) =>
      (await stat(join(dir, `step-00000000${step}`, `${name}.f32`))).ino;
    const frozen = Float32Array.of(1, 2, 3);
    const save = (step: number, change: Partial<SnapshotFacts> = {}, values = frozen) => {
      const arrays = { ...arraysAt(step), frozen: values };
      return saveSnapshot(dir, { ...factsAt(step), ...change }, arrays, { keep: 2, fixed: ["frozen"] });
    };
    await save(1);
    await save(2);
    const [first, second] = [await inodeAt(1, "frozen"), await inodeAt(2, "frozen")];
    expect(first).not.toBe(second);
    const learnt = await inodeAt(1, "parameters");
    await save(3);
    expect([await inodeAt(2, "frozen"), await inodeAt(3, "frozen")]).toEqual([second, first]);
    expect(await inodeAt(3, "parameters")).not.toBe(learnt);
    await expectStep(3);
    // Of another stage, or another length, it is another array.
    await save(4, { stage: "1b" });
    await save(5, {}, Float32Array.of(1, 2));
    expect(await inodeAt(4, "frozen")).not.toBe(second);
    expect(await inodeAt(5, "frozen")).not.toBe(first);
  });

  it("that cannot be written leaves nothing of itself behind, and those before it as they were", async () => {
    await saveSnapshot(dir, factsAt(3), arraysAt(3));
    const failing = saveSnapshot(dir, factsAt(4), { ...arraysAt(4), "no/such/folder": new Float32Array(1) });
    await expect(failing).rejects.toMatchObject({ code: "disk" });
    expect(await readdir(dir)).toEqual(["step-000000003"]);
    await expectStep(3);
  });

  it("of a release that did not note the threads is read too", async () => {
    const shares = { lanes: 3, threads: 1 };
    await saveSnapshot(dir, { ...factsAt(2), shares }, arraysAt(2));
    expect((await newestSnapshot(dir))?.facts).toEqual({ ...factsAt(2), shares });
    await saveSnapshot(dir, factsAt(5), arraysAt(5));
    await expectStep(5);
  });

  it("does not read into memory of another length, or an array that it does not have", async () => {
    await saveSnapshot(dir, factsAt(1), arraysAt(1));
    const found = await newestSnapshot(dir);
    const read = (name: string, length: number) => found?.read(name, new Float32Array(length));
    await expect(read("parameters", 300)).rejects.toMatchObject({ code: "snapshot_damaged" });
    await expect(read("w", 3)).rejects.toMatchObject({ code: "snapshot_damaged" });
  });
});

describe("damage", () => {
  const FILES = ["manifest.json", "parameters.f32", "m.f32"];

  /** Does something to a file of the newer of two snapshots, which must be noticed, and the older be used. */
  async function expectNoticed(file: string, damage: (path: string) => Promise<void>): Promise<void> {
    await rm(dir, { recursive: true });
    await saveSnapshot(dir, factsAt(4), arraysAt(4));
    const newer = await saveSnapshot(dir, factsAt(5), arraysAt(5));
    await damage(join(newer, file));
    const told: string[] = [];
    await expectStep(4, (problem) => told.push(problem.message));
    expect(told).toEqual([expect.stringContaining("snapshot step-000000005: ")]);
  }

  it.each(FILES)("by a flipped bit in %s is noticed, wherever it is", async (file) => {
    const random = new Random(2026);
    for (let i = 0; i < 25; i++) {
      await expectNoticed(file, async (path) => {
        const bytes = await readFile(path);
        const at = Math.floor(random.next() * bytes.length);
        bytes[at] = (bytes[at] as number) ^ (1 << (random.bits() % 8));
        await writeFile(path, bytes);
      });
    }
  });

  it.each(FILES)("by a cut or an addition in %s is noticed", async (file) => {
    const random = new Random(7);
    for (let i = 0; i < 8; i++) {
      await expectNoticed(file, async (path) => {
        const { length } = await readFile(path);
        await truncate(path, Math.floor(random.next() * length));
      });
    }
    await expectNoticed(file, (path) => writeFile(path, "x", { flag: "a" }));
  });

  it.each(FILES)("by a %s that is gone is noticed", async (file) => {
    await expectNoticed(file, (path) => rm(path));
  });

  it("of all of them is an error, not a new beginning", async () => {
    const path = await saveSnapshot(dir, factsAt(5), arraysAt(5));
    await truncate(join(path, "m.f32"), 1);
    await expect(newestSnapshot(dir)).rejects.toMatchObject({
      code: "snapshot_damaged",
      message: expect.stringContaining("every snapshot"),
    });
  });
});
