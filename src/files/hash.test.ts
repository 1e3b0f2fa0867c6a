import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashInto, STEP_BYTES, type Stretch } from "./hash.ts";

const bytes = Uint8Array.from({ length: 2 * STEP_BYTES + 7 }, (_, i) => i % 251);
let dir: string;
let path: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "oryx-hash-"));
  path = join(dir, "file");
  writeFileSync(path, bytes);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const sha256 = (...parts: Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest("hex");

async function hashed(stretches?: readonly Stretch[]): Promise<{ found: number; hash: string }> {
  const hash = createHash("sha256");
  const found = await hashInto(hash, path, undefined, stretches);
  return { found, hash: hash.digest("hex") };
}

describe("the hash of a file", () => {
  it("is of all its bytes, though they are read in steps", async () => {
    expect(await hashed()).toEqual({ found: bytes.length, hash: sha256(bytes) });
  });

  it("is of stretches in the order in which they were asked for", async () => {
    const [late, early] = [
      { offset: STEP_BYTES - 3, byteLength: STEP_BYTES + 5 },
      { offset: 1, byteLength: 2 },
    ];
    const parts = [bytes.subarray(late.offset, late.offset + late.byteLength), bytes.subarray(1, 3)];
    expect(await hashed([late, early])).toEqual({ found: STEP_BYTES + 7, hash: sha256(...parts) });
  });

  it("tells of fewer bytes where the file ends before a stretch does", async () => {
    const end = { offset: bytes.length - 4, byteLength: 5 };
    expect(await hashed([end])).toEqual({ found: 4, hash: sha256(bytes.subarray(-4)) });
  });

  it("is added to what was hashed before", async () => {
    const hash = createHash("sha256").update("before");
    await hashInto(hash, path);
    expect(hash.digest("hex")).toBe(sha256(Buffer.from("before"), bytes));
  });

  it("ends when it is told to, and says which file cannot be read", async () => {
    const hash = createHash("sha256");
    await expect(hashInto(hash, path, AbortSignal.abort())).rejects.toMatchObject({ code: "aborted" });
    const missing = hashInto(hash, join(dir, "nothing"));
    await expect(missing).rejects.toMatchObject({
      code: "disk",
      message: expect.stringContaining("nothing"),
    });
  });
});
