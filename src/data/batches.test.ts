import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { compiled } from "../../test/support/compiled.ts";
import { openToy, type ToySpec } from "../../test/support/toy-data.ts";
import { type Batch, type BatchesOptions, openBatches } from "./batches.ts";

const support = new URL("../../test/support/", import.meta.url);
const { modules, dir } = await compiled(new URL("toy-thread.ts", support), new URL("toy-run.ts", support));
const [workerUrl, program] = modules as [URL, URL];
afterAll(() => rm(dir, { recursive: true }));

const options = (spec: ToySpec, more: Partial<BatchesOptions<ToySpec>> = {}): BatchesOptions<ToySpec> => ({
  spec,
  open: openToy,
  workerUrl,
  workers: 0,
  batchSize: 4,
  seed: 5,
  ...more,
});

/** Batches `start` to `end` - 1 of a data set that is opened for them. */
async function read(start: number, end: number, given: BatchesOptions<ToySpec>): Promise<Batch[]> {
  const batches = await openBatches(given);
  try {
    const all: Batch[] = [];
    for await (const batch of batches.from(start, end)) all.push(batch);
    return all;
  } finally {
    await batches.close();
  }
}

const ids = (batches: readonly Batch[]) => batches.map(({ examples }) => examples.map(({ id }) => id));
const code = (name: string) => expect.objectContaining({ code: name });

describe("batches", () => {
  it("see every example once in an epoch, in another order in the next", async () => {
    const all = await read(0, 6, options({ length: 12 }));
    const [first, second] = [ids(all.slice(0, 3)).flat(), ids(all.slice(3)).flat()];
    const toys = Array.from({ length: 12 }, (_, i) => `toy ${i}`).toSorted();
    expect([first.toSorted(), second.toSorted()]).toEqual([toys, toys]);
    expect(first).not.toEqual(second);
  });

  it("go on across the end of an epoch", async () => {
    const batches = await openBatches(options({ length: 10 }));
    expect(batches.length).toBe(10);
    await batches.close();
    const seen = ids(await read(0, 5, options({ length: 10 }))).flat();
    expect([new Set(seen.slice(0, 10)).size, new Set(seen.slice(10)).size]).toEqual([10, 10]);
  });

  it("are the same to the byte from one thread, from two, and without", async () => {
    const spec = { length: 9, broken: [2], tooLong: [7] };
    const here = await read(0, 4, options(spec));
    const elsewhere = await read(0, 4, options(spec, { workers: 1 }));
    expect(elsewhere).toEqual(here);
    expect(await read(0, 4, options(spec, { workers: 2, ahead: 1 }))).toEqual(here);
    const { image } = here[0]!.examples[0]!.visuals[0]!.pictures[1]!;
    expect([image.width, image.height, image.data.length]).toEqual([32, 32, 3 * 32 * 32]);
    // The toys' two frames are one picture, and are one picture still when they come from a thread.
    for (const batches of [here, elsewhere]) {
      const [first, second] = batches[0]!.examples[0]!.visuals[0]!.pictures;
      expect(first?.image).toBe(second?.image);
    }
  });

  it("are the same when a run is taken up in the middle", async () => {
    const spec = { length: 9, broken: [2] };
    const whole = await read(0, 6, options(spec));
    expect(await read(4, 6, options(spec))).toEqual(whole.slice(4));
    expect(await read(4, 6, options(spec, { workers: 2 }))).toEqual(whole.slice(4));
  });

  it.each([0, 1])("skip broken samples and name them, with %s threads", async (workers) => {
    const [batch, other] = await read(0, 2, options({ length: 4, broken: [2], tooLong: [3] }, { workers }));
    expect(batch?.examples.map(({ id }) => id).toSorted()).toEqual(["toy 0", "toy 1"]);
    expect(batch?.skipped.toSorted((a, b) => a.index - b.index)).toEqual([
      { index: 2, code: "sample_invalid", problem: '"toy 2" (toys.json line 3): it is no good' },
      { index: 3, code: "sample_too_long", problem: '"toy 3" (toys.json line 4): it is no good' },
    ]);
    expect(other?.skipped).toHaveLength(2);
  });

  it("may be empty", async () => {
    const [batch] = await read(0, 1, options({ length: 1, broken: [0] }, { batchSize: 1 }));
    expect(batch).toMatchObject({ number: 0, examples: [], skipped: [{ index: 0 }] });
  });

  it("load no more ahead than they are told to", async () => {
    let asked = 0;
    const open = async (spec: ToySpec) => {
      const toys = await openToy(spec);
      const example = (index: number) => {
        asked++;
        return toys.example(index);
      };
      return { ...toys, example };
    };
    const batches = await openBatches(options({ length: 100 }, { open, ahead: 2 }));
    const stream = batches.from(0);
    await stream.next();
    await stream.next();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(asked).toBe(4 + 4 + 2);
    await batches.close();
  });

  it.each([
    ["crash", "worker_failed", /a crash that nobody catches/],
    ["bug", "worker_failed", /undefined is not a function/],
    ["lost", "data_invalid", /became shorter/],
  ] as const)("fail with a code when a thread meets a %s", async (kind, expected, problem) => {
    const spec = { length: 8, trouble: { at: 3, kind } };
    const failing = read(0, 2, options(spec, { workers: 2 }));
    await expect(failing).rejects.toEqual(code(expected));
    await expect(failing).rejects.toThrow(problem);
  });

  it("fail when the data set does, in threads as without", async () => {
    for (const workers of [0, 2]) {
      const opening = openBatches(options({ length: 8, unreadable: true }, { workers }));
      await expect(opening).rejects.toEqual(code("data_invalid"));
    }
    const empty = openBatches(options({ length: 0 }, { workers: 1 }));
    await expect(empty).rejects.toEqual(code("data_invalid"));
  });

  it("fail when there is no program for the thread", async () => {
    const missing = new URL("no-such-thread.mjs", support);
    const opening = openBatches(options({ length: 8 }, { workers: 1, workerUrl: missing }));
    await expect(opening).rejects.toEqual(code("worker_failed"));
  });

  it("let go of whoever waits when they are closed, and end threads that are busy", async () => {
    const spec: ToySpec = { length: 4, trouble: { at: 0, kind: "endless" } };
    const batches = await openBatches(options(spec, { workers: 2, closeWithinMs: 100 }));
    const waiting = batches.from(0).next();
    const told = expect(waiting).rejects.toEqual(code("closed"));
    await batches.close();
    await batches.close();
    await told;
    await expect(batches.from(0).next()).rejects.toEqual(code("closed"));
  });

  it("do not keep a process alive that has nothing more to do", async () => {
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, [fileURLToPath(program)], { timeout: 50_000 });
    expect(stdout).toBe("0 4\n1 4\n");
  });

  it.each([{ workers: -1 }, { workers: 1.5 }, { batchSize: 0 }, { ahead: -1 }, { seed: Number.NaN }])(
    "refuse %o",
    async (wrong) => {
      await expect(openBatches(options({ length: 4 }, wrong))).rejects.toEqual(code("bad_option"));
    },
  );
});
