import { createHash } from "node:crypto";
import { appendFile, cp, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import { Random } from "../core/random.ts";
import { onDisk } from "../files/disk.ts";
import { type ConvertOptions, convert } from "./convert.ts";
import { type Disk, fileSystem } from "./disk.ts";

const QWEN = "test/fixtures/oryx-qwen-tiny";
const AUTO: ConvertOptions = { weights: "auto", vision: "w8", keep: [] };

let root: string;
let whole: { digest: string; bytes: number };
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-resume-"));
  const counter = new FailingDisk(Number.POSITIVE_INFINITY, "ENOSPC");
  const out = join(root, "whole");
  await convert(QWEN, out, { ...AUTO, disk: counter });
  whole = { digest: await digestOf(out), bytes: counter.written };
});
afterAll(() => rm(root, { recursive: true }));

let folders = 0;
const fresh = () => join(root, `out-${folders++}`);

async function digestOf(dir: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(dir)).sort()) hash.update(name).update(await readFile(join(dir, name)));
  return hash.digest("hex");
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** A disk on which only so many bytes can be written: the write that would be too much is done in part, and fails. */
class FailingDisk implements Disk {
  written = 0;
  readonly #room: number;
  readonly #code: string;

  constructor(room: number, code: string) {
    this.#room = room;
    this.#code = code;
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(1e12);
  }

  async open(path: string) {
    const file = await fileSystem.open(path);
    const write = async (bytes: Uint8Array, at: number) => {
      const fits = Math.max(0, Math.min(bytes.length, this.#room - this.written));
      this.written += fits;
      await file.write(bytes.subarray(0, fits), at);
      if (fits === bytes.length) return;
      const failure = Object.assign(new Error(`${this.#code}: no more`), { code: this.#code });
      await onDisk(`write ${path}`, () => Promise.reject(failure));
    };
    return { ...file, write };
  }
}

/** Converts until the disk fails. */
async function interrupted(out: string, room: number, code = "EIO"): Promise<OryxError> {
  const error = await convert(QWEN, out, { ...AUTO, disk: new FailingDisk(room, code) }).then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(OryxError);
  expect(await exists(out)).toBe(false);
  return error;
}

describe("a conversion that was stopped", () => {
  it("at any of 20 random bytes ends as if it had not been", async () => {
    const random = new Random(3);
    let resumed = 0;
    for (let i = 0; i < 20; i++) {
      const out = fresh();
      const room = Math.floor(random.next() * whole.bytes);
      await interrupted(out, room);
      const conversion = await convert(QWEN, out, AUTO);
      resumed += conversion.resumed;
      expect(await digestOf(out), `stopped after ${room} bytes`).toBe(whole.digest);
    }
    expect(resumed).toBeGreaterThan(0);
  });

  it("again and again ends all the same", async () => {
    const out = fresh();
    let stops = 0;
    for (let room = 100_000; ; room += 150_000) {
      const disk = new FailingDisk(room, "EIO");
      const end = await convert(QWEN, out, { ...AUTO, disk }).catch((error) => error);
      if (!(end instanceof OryxError)) break;
      stops++;
    }
    expect(stops).toBeGreaterThan(2);
    expect(await digestOf(out)).toBe(whole.digest);
  });

  it("by a full disk says so, and goes on when there is room", async () => {
    const out = fresh();
    const error = await interrupted(out, Math.floor(whole.bytes / 2), "ENOSPC");
    expect(error.code).toBe("disk");
    expect(error.message).toMatch(/^the disk is full \(ENOSPC\)/);
    expect(error.remedy).toMatch(/goes on where it stopped/);
    await convert(QWEN, out, AUTO);
    expect(await digestOf(out)).toBe(whole.digest);
  });

  it("by its signal goes on too", async () => {
    const out = fresh();
    const stop = new AbortController();
    const stopping = { signal: stop.signal, onProgress: () => stop.abort() };
    const error = await convert(QWEN, out, { ...AUTO, ...stopping }).catch((reason) => reason);
    expect(error.code).toBe("aborted");
    expect(await exists(out)).toBe(false);
    await convert(QWEN, out, AUTO);
    expect(await digestOf(out)).toBe(whole.digest);
  });

  it("does a tensor again whose bytes have changed since", async () => {
    const out = fresh();
    await interrupted(out, whole.bytes - 100);
    const path = join(`${out}.partial`, "int8.safetensors");
    const bytes = await readFile(path);
    bytes[bytes.length - 5_000] = (bytes[bytes.length - 5_000] as number) ^ 1;
    await writeFile(path, bytes);
    let before = 0;
    const onResume: ConvertOptions["onResume"] = ({ tensorsBefore }) => {
      before = tensorsBefore;
    };
    const { resumed } = await convert(QWEN, out, { ...AUTO, onResume });
    expect(before - resumed).toBe(1);
    expect(await digestOf(out)).toBe(whole.digest);
  });

  it("believes no line of its journal that is no good", async () => {
    const out = fresh();
    await interrupted(out, whole.bytes - 100);
    const path = join(`${out}.partial`, "journal.jsonl");
    await appendFile(path, '{"name":"model.norm.weight","hashes":{"model.norm');
    await convert(QWEN, out, AUTO);
    expect(await digestOf(out)).toBe(whole.digest);
    const other = fresh();
    await interrupted(other, whole.bytes - 100);
    await writeFile(join(`${other}.partial`, "journal.jsonl"), "\u0000\u0001 nonsense\n{}");
    await convert(QWEN, other, AUTO);
    expect(await digestOf(other)).toBe(whole.digest);
  });

  it("starts anew when the source or the options are others", async () => {
    const source = join(root, "source");
    await cp(QWEN, source, { recursive: true, preserveTimestamps: true });
    const out = fresh();
    const stopped = convert(source, out, { ...AUTO, disk: new FailingDisk(whole.bytes - 100, "EIO") });
    await expect(stopped).rejects.toThrow();
    const touched = join(source, "model-00001-of-00002.safetensors");
    await utimes(touched, new Date(), new Date());
    const told: unknown[] = [];
    const onResume: ConvertOptions["onResume"] = (state) => told.push(state);
    const again = convert(source, out, {
      ...AUTO,
      onResume,
      disk: new FailingDisk(whole.bytes - 100, "EIO"),
    });
    await expect(again).rejects.toThrow();
    const { manifest } = await convert(source, out, { ...AUTO, weights: "q4", onResume });
    expect(told).toEqual(Array(2).fill({ isAnew: true, tensorsBefore: 0 }));
    expect(manifest.weights).toBe("q4");
    expect(await exists(join(out, "int8.safetensors"))).toBe(false);
    const coarser = fresh();
    await interrupted(coarser, whole.bytes - 100);
    await convert(QWEN, coarser, { ...AUTO, block: 64, onResume });
    expect(told.at(-1)).toEqual({ isAnew: true, tensorsBefore: 0 });
  });
});

describe("a disk that is too small from the start", () => {
  it("is told before any work is done", async () => {
    const out = fresh();
    const disk: Disk = { ...fileSystem, freeBytes: () => Promise.resolve(500_000) };
    const error = await convert(QWEN, out, { ...AUTO, disk }).catch((reason) => reason);
    expect(error.code).toBe("disk");
    expect(error.message).toMatch(/needs \d+ more bytes, and .* has 500000 free/);
    expect(await exists(`${out}.partial`)).toBe(false);
  });
});
