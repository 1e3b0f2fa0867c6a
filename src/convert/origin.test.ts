import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Random } from "../core/random.ts";
import { fromBfloat16, toFloat16 } from "../weights/floats.ts";
import { INT4_BLOCKS, packInt4, ROUNDING_VERSION, roundInt8 } from "../weights/quantise.ts";
import { convert } from "./convert.ts";

/** In the place of the version that this code has. */
const version = vi.hoisted(() => ({ now: undefined as number | undefined }));
vi.mock(import("../weights/quantise.ts"), async (original) => {
  const quantise = await original();
  const mocked = { get: () => version.now ?? quantise.ROUNDING_VERSION, enumerable: true };
  return Object.defineProperty({ ...quantise }, "ROUNDING_VERSION", mocked);
});

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-origin-"));
});
afterAll(() => rm(root, { recursive: true }));

describe("a conversion that was begun", () => {
  it("is begun anew by a version that rounds otherwise", async () => {
    const out = join(root, "out");
    const told: boolean[] = [];
    const begin = async () => {
      const stop = new AbortController();
      const conversion = convert("test/fixtures/oryx-qwen-tiny", out, {
        weights: "q4",
        vision: "f32",
        keep: [],
        signal: stop.signal,
        onResume: ({ isAnew }) => told.push(isAnew),
        onProgress: () => stop.abort(),
      });
      await expect(conversion).rejects.toMatchObject({ code: "aborted" });
    };
    await begin();
    await begin();
    version.now = ROUNDING_VERSION + 1;
    await begin();
    version.now = undefined;
    expect(told).toEqual([false, false, true]);
    expect(await readdir(`${out}.partial`)).toContain("journal.jsonl");
  });
});

describe("the version of rounding", () => {
  it("is raised when what comes out changes: then here is another hash too", () => {
    const random = new Random(7);
    const values = Float32Array.from({ length: 64 * 128 }, () => (random.next() - 0.5) ** 3);
    const hash = createHash("sha256");
    for (const block of INT4_BLOCKS) {
      const [packed, scales] = [new Uint8Array(values.length / 2), new Float32Array(values.length / block)];
      packInt4(values, packed, scales, block);
      hash.update(packed).update(scales);
    }
    const [transposed, scales] = [new Int8Array(values.length), new Float32Array(64)];
    roundInt8(values, 0, transposed, scales);
    hash.update(transposed).update(scales).update(toFloat16(values));
    hash.update(
      fromBfloat16(
        Uint16Array.from({ length: 65_536 }, (_, i) => i),
        new Float32Array(65_536),
      ),
    );
    expect([ROUNDING_VERSION, hash.digest("hex").slice(0, 16)]).toEqual([1, "793804f47917c309"]);
  });
});
