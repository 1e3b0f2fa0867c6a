import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fileSystem } from "./disk.ts";
import { Journal, readJournal } from "./journal.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-journal-"));
});
afterAll(() => rm(root, { recursive: true }));

const job = (n: number) => ({ name: `layer ${n} \u00e9`, hashes: { [`layer ${n}`]: "00" }, errors: {} });

async function written(path: string): Promise<Buffer> {
  const journal = await Journal.open(fileSystem, path, "print", 0);
  await Promise.all([journal.note([job(0), job(1)]), journal.note([]), journal.note([job(2)])]);
  await journal.close();
  return readFile(path);
}

describe("a conversion's journal", () => {
  it("cut off anywhere holds the jobs whose lines are whole, and goes on behind them", async () => {
    const path = join(root, "cut");
    const bytes = await written(path);
    for (let length = 0; length <= bytes.length; length++) {
      await writeFile(path, bytes.subarray(0, length));
      const lines = bytes.subarray(0, length).toString("latin1").split("\n").length - 1;
      const notes = await readJournal(path);
      expect(notes?.fingerprint).toBe(lines > 0 ? "print" : undefined);
      expect([...(notes?.jobs.values() ?? [])]).toEqual(
        [job(0), job(1), job(2)].slice(0, Math.max(0, lines - 1)),
      );
    }
    await writeFile(path, bytes.subarray(0, -5));
    const journal = await Journal.open(fileSystem, path, "print", (await readJournal(path))?.end ?? 0);
    await journal.note([job(2)]);
    await journal.close();
    expect(await readFile(path)).toEqual(bytes);
  });

  it("with other bytes in it is read without harm, and only up to them", async () => {
    const path = join(root, "noise");
    const bytes = await written(path);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), fc.uint8Array({ maxLength: 60 }), async (at, noise) => {
        await writeFile(path, Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at)]));
        const notes = await readJournal(path);
        const jobs = [...(notes?.jobs.values() ?? [])];
        expect(jobs).toEqual([job(0), job(1), job(2)].slice(0, jobs.length));
        expect(notes?.end).toBeLessThanOrEqual(bytes.length + noise.length);
      }),
      { numRuns: 200 },
    );
  });

  it("that is not there is undefined", async () => {
    expect(await readJournal(join(root, "none"))).toBeUndefined();
  });
});
