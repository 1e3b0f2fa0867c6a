import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { COMMIT, etagOf, FakeHub, gitSha1, sha256, WEIGHTS } from "../../test/support/fake-hub.ts";
import { type PullOptions, type PullProgress, pull, resolveModel } from "./hub.ts";

const FOLDER = "models--org--tiny";

let hub: FakeHub;
let cacheDir: string;

beforeEach(async () => {
  hub = await FakeHub.start();
  cacheDir = await mkdtemp(join(tmpdir(), "oryx-hub-"));
});

afterEach(async () => {
  await hub.stop();
  await rm(cacheDir, { recursive: true });
});

function options(more: Partial<PullOptions> = {}): PullOptions {
  return { endpoint: hub.endpoint, cacheDir, offline: false, backoffMs: 1, stallMs: 2_000, ...more };
}

/** Compares by hash: a difference in 300 kB would be printed byte by byte. */
async function expectContent(path: string, file: string) {
  expect(sha256(await readFile(path)), file).toBe(sha256(hub.files.get(file)!));
}

function blobs() {
  return readdir(join(cacheDir, FOLDER, "blobs"));
}

describe("pulling a model", () => {
  it("lays the cache out as Python's huggingface_hub does", async () => {
    const { path, commit, files } = await pull("org/tiny", options());
    expect(commit).toBe(COMMIT);
    expect(path).toBe(join(cacheDir, FOLDER, "snapshots", COMMIT));
    expect(files).toEqual(["config.json", WEIGHTS, "tokenizer.json", "tower/oryx_vit.pth"]);
    for (const file of files) await expectContent(join(path, file), file);
    expect(await readFile(join(cacheDir, FOLDER, "refs/main"), "utf8")).toBe(COMMIT);
    expect(await readlink(join(path, WEIGHTS))).toBe(`../../blobs/${sha256(hub.files.get(WEIGHTS)!)}`);
    expect(await readlink(join(path, "tower/oryx_vit.pth"))).toMatch(
      /^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/,
    );
    expect(await readlink(join(path, "config.json"))).toBe(
      `../../blobs/${gitSha1(hub.files.get("config.json")!)}`,
    );
    expect((await blobs()).sort()).toEqual(
      [...hub.files]
        .filter(([f]) => files.includes(f))
        .map(etagOf)
        .sort(),
    );
  });

  it("fetches nothing again that is here", async () => {
    await pull("org/tiny", options());
    hub.seen.length = 0;
    await pull("org/tiny", options());
    expect(hub.contentRequests()).toEqual([]);
  });

  it("sends the token to the hub and to nobody else", async () => {
    await pull("org/tiny", options({ token: "hf_secret" }));
    expect(hub.seen.some(({ host }) => host === "cdn")).toBe(true);
    for (const { host, token } of hub.seen)
      expect(token).toBe(host === "hub" ? "Bearer hf_secret" : undefined);
  });

  it("reports every file up to its last byte", async () => {
    const last = new Map<string, PullProgress>();
    await pull("org/tiny", options({ onProgress: (step) => last.set(step.file, step) }));
    expect(last.size).toBe(4);
    for (const { file, bytesDone, bytesTotal } of last.values()) {
      expect([bytesDone, bytesTotal]).toEqual([hub.files.get(file)!.length, hub.files.get(file)!.length]);
    }
  });

  it("fetches other files on request", async () => {
    const { files } = await pull("org/tiny", options({ include: (path) => path === "README.md" }));
    expect(files).toEqual(["README.md"]);
  });

  it("keeps revisions apart from the default one", async () => {
    await pull("org/tiny@refs/pr/1", options());
    expect(await readFile(join(cacheDir, FOLDER, "refs/refs/pr/1"), "utf8")).toBe(COMMIT);
    await expect(resolveModel("org/tiny", { cacheDir })).rejects.toMatchObject({ code: "model_missing" });
    expect(await resolveModel("org/tiny@refs/pr/1", { cacheDir })).toContain(COMMIT);
    const two = pull("org/tiny@refs/pr/1", options({ revision: "main" }));
    await expect(two).rejects.toMatchObject({ code: "hub_invalid_id" });
  });
});

describe("a connection that breaks", () => {
  it("is taken up where it broke, by asking for the rest only", async () => {
    hub.fault(WEIGHTS, { dropAfter: 100_000 }, { status: 503 }, { dropAfter: 50_000 });
    const { path } = await pull("org/tiny", options());
    await expectContent(join(path, WEIGHTS), WEIGHTS);
    const starts = hub.contentRequests(WEIGHTS).map(({ range }) => Number(/\d+/.exec(range ?? "0")![0]));
    expect(starts[0]).toBe(0);
    expect(starts.slice(1).every((start, i) => start >= starts[i]!)).toBe(true);
    expect(starts.at(-1)).toBeGreaterThan(100_000);
  });

  it("is given up after several failures in a row", async () => {
    hub.fault(WEIGHTS, ...Array.from({ length: 5 }, () => ({ status: 500 })));
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_unreachable" });
    expect(hub.contentRequests(WEIGHTS)).toHaveLength(5);
    await expect(readFile(join(cacheDir, FOLDER, "refs/main"))).rejects.toThrow();
    // Some files are there: they are no model, by whichever name.
    await expect(resolveModel(`org/tiny@${COMMIT}`, { cacheDir })).rejects.toMatchObject({
      code: "model_missing",
    });
  });

  it("counts as broken when it falls silent", async () => {
    hub.fault(WEIGHTS, { dropAfter: -1 });
    const { path } = await pull("org/tiny", options({ stallMs: 100 }));
    await expectContent(join(path, WEIGHTS), WEIGHTS);
  });

  it("asks the hub again when a download address has expired", async () => {
    hub.fault(WEIGHTS, { status: 403 });
    await pull("org/tiny", options());
    expect(hub.contentRequests(WEIGHTS)).toHaveLength(2);
  });
});

describe("a pull that was aborted", () => {
  async function abortMidway() {
    const stop = new AbortController();
    const onProgress = ({ file, bytesDone }: PullProgress) => {
      if (file === WEIGHTS && bytesDone > 100_000) stop.abort();
    };
    hub.fault(WEIGHTS, { dropAfter: 200_000 });
    await expect(pull("org/tiny", options({ signal: stop.signal, onProgress }))).rejects.toMatchObject({
      code: "aborted",
    });
    hub.faults.clear();
    hub.seen.length = 0;
  }

  it("goes on from the bytes it has, and asks for no others", async () => {
    await abortMidway();
    const { path } = await pull("org/tiny", options());
    await expectContent(join(path, WEIGHTS), WEIGHTS);
    const [request, ...more] = hub.contentRequests(WEIGHTS);
    expect(more).toEqual([]);
    expect(Number(/^bytes=(\d+)-$/.exec(request!.range!)![1])).toBeGreaterThan(100_000);
  });

  it("starts over when the server knows no ranges", async () => {
    await abortMidway();
    hub.fault(WEIGHTS, { ignoreRange: true });
    const { path } = await pull("org/tiny", options());
    await expectContent(join(path, WEIGHTS), WEIGHTS);
  });

  it("starts over when what it had turns out wrong", async () => {
    await abortMidway();
    const partial = (await blobs()).find((name) => name.endsWith(".incomplete"))!;
    await writeFile(join(cacheDir, FOLDER, "blobs", partial), "not these bytes");
    const { path } = await pull("org/tiny", options());
    await expectContent(join(path, WEIGHTS), WEIGHTS);
    expect(hub.contentRequests(WEIGHTS).map(({ range }) => range)).toEqual(["bytes=15-", undefined]);
  });

  it("is not held up by the lock of a process that has ended", async () => {
    await abortMidway();
    const { pid } = spawnSync(process.execPath, ["-e", ""]);
    const lock = join(cacheDir, FOLDER, "blobs", `${sha256(hub.files.get(WEIGHTS)!)}.oryx.lock`);
    await writeFile(lock, `${pid} ${hostname()} x`);
    const { path } = await pull("org/tiny", options());
    await expectContent(join(path, WEIGHTS), WEIGHTS);
    expect((await blobs()).filter((name) => name.endsWith(".lock"))).toEqual([]); // it was this one that was taken over
  });

  it("had its signal fired before it began", async () => {
    const signal = AbortSignal.abort();
    await expect(pull("org/tiny", options({ signal }))).rejects.toMatchObject({ code: "aborted" });
  });
});

describe("content that is not what the hub announced", () => {
  const wrong = Buffer.alloc(300_000, 7);

  it("is refused by its hash, and not kept", async () => {
    hub.fault(WEIGHTS, { bytes: wrong });
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_corrupt" });
    expect(await blobs()).not.toContain(sha256(hub.files.get(WEIGHTS)!));
    await pull("org/tiny", options());
  });

  it("is refused by git's hash when it is small", async () => {
    hub.fault("config.json", { bytes: Buffer.from('{"evil":1}') });
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_corrupt" });
  });

  it.each([wrong.subarray(1), Buffer.concat([wrong, wrong])])(
    "is refused by its length (%#)",
    async (bytes) => {
      hub.fault(WEIGHTS, { bytes });
      await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_corrupt" });
      expect(hub.contentRequests(WEIGHTS)).toHaveLength(1);
    },
  );

  it.each([true, false])("is not stitched together when it changes midway (%s)", async (ignoreIfRange) => {
    hub.fault(WEIGHTS, { dropAfter: 100_000 }, { etag: '"another"', ignoreIfRange });
    const { path } = await pull("org/tiny", options());
    await expectContent(join(path, WEIGHTS), WEIGHTS);
  });
});

describe("pulls of one model at the same time", () => {
  it("fetch every file once and both succeed", async () => {
    const [one, two] = await Promise.all([pull("org/tiny", options()), pull("org/tiny", options())]);
    expect(one).toEqual(two);
    for (const file of one.files) {
      await expectContent(join(one.path, file), file);
      expect(hub.contentRequests(file)).toHaveLength(1);
    }
  });
});

describe("offline", () => {
  it("gives what was pulled and never asks the hub", async () => {
    const pulled = await pull("org/tiny", options());
    hub.seen.length = 0;
    expect(await pull("org/tiny", options({ offline: true }))).toEqual(pulled);
    expect(await resolveModel("org/tiny", { cacheDir })).toBe(pulled.path);
    expect(await resolveModel(`org/tiny@${COMMIT}`, { cacheDir })).toBe(pulled.path);
    expect(hub.seen).toEqual([]);
  });

  it("says when there is nothing", async () => {
    await expect(pull("org/tiny", options({ offline: true }))).rejects.toMatchObject({
      code: "hub_not_found",
    });
    await expect(resolveModel("org/tiny", { cacheDir })).rejects.toMatchObject({ code: "model_missing" });
    await expect(resolveModel("./no/such/folder", { cacheDir })).rejects.toMatchObject({
      code: "model_missing",
    });
  });

  it("prefers a folder of that name", async () => {
    await mkdir(join(cacheDir, "org/tiny"), { recursive: true });
    expect(await resolveModel(join(cacheDir, "org/tiny"), { cacheDir: "/nowhere" })).toBe(
      join(cacheDir, "org/tiny"),
    );
  });
});

describe("a hub that refuses", () => {
  it.each([
    [401, "", "hub_denied"],
    [403, "GatedRepo", "hub_denied"],
    [401, "RepoNotFound", "hub_not_found"],
    [404, "RevisionNotFound", "hub_not_found"],
    [500, "", "hub_unreachable"],
  ])("with %d %s is reported as it means", async (status, error, code) => {
    hub.api = (response) => response.writeHead(status, { "x-error-code": error }).end();
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code });
  });

  it("is not there at all", async () => {
    await hub.stop();
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_unreachable" });
  });

  it.each(["file:///etc/passwd", "http://[", "/api/models/org/tiny/revision/main?blobs=true"])(
    "redirects to %s",
    async (location) => {
      hub.api = (response) => response.writeHead(302, { location }).end();
      await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_unreachable" });
    },
  );

  it("loses a small file between listing and download", async () => {
    hub.fault("config.json", { status: 404 });
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_not_found" });
  });
});

describe("a hub that lies in its list", () => {
  const good = { rfilename: "config.json", size: 1, blobId: "0".repeat(40) };
  it.each([
    "",
    "[]",
    "{}",
    JSON.stringify({ sha: "../..", siblings: [] }),
    ...["../x.json", "/etc/x.json", "a\\..\\x", "C:x", "a//b", "a/./b", "", "a\n", "x".repeat(300)].map(
      (rfilename) => JSON.stringify({ sha: COMMIT, siblings: [{ ...good, rfilename }] }),
    ),
    JSON.stringify({ sha: COMMIT, siblings: [{ ...good, blobId: "../../x" }] }),
    JSON.stringify({ sha: COMMIT, siblings: [{ ...good, size: -1 }] }),
    JSON.stringify({ sha: COMMIT, siblings: [{ ...good, size: 1e300 }] }),
    JSON.stringify({ sha: COMMIT, siblings: [{ rfilename: "config.json" }] }),
  ])("is refused: %s", async (text) => {
    hub.api = (response) => response.end(text);
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_corrupt" });
    expect(await readdir(cacheDir)).toEqual([]);
  });

  it("has no model", async () => {
    hub.api = (response) => response.end(JSON.stringify({ sha: COMMIT, siblings: [] }));
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_not_found" });
  });

  it("announces more than the disk holds", async () => {
    const siblings = [{ ...good, size: Number.MAX_SAFE_INTEGER }];
    hub.api = (response) => response.end(JSON.stringify({ sha: COMMIT, siblings }));
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "disk" });
    expect(hub.contentRequests()).toEqual([]);
  });

  it("talks without end", async () => {
    hub.api = (response) => {
      const chunk = Buffer.alloc(1 << 20, 32);
      const more = () => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on("drain", more);
      more();
    };
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "hub_corrupt" });
  });
});

describe("a cache that cannot be written", () => {
  it("is reported", async () => {
    await writeFile(join(cacheDir, FOLDER), "a file where a folder should be");
    await expect(pull("org/tiny", options())).rejects.toMatchObject({ code: "disk" });
  });
});
