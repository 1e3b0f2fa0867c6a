import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { installedLibrary, isTooOld, OLDEST_VERSION } from "./library.ts";
import { createNodeRuntime } from "./runtime.ts";

describe("ONNX Runtime's version", () => {
  it("is at least the one that npm installs, which is the one that is tested", () => {
    const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json") as {
      version: string;
    };
    expect(version.split(".").slice(0, 2).join(".")).toBe(OLDEST_VERSION);
    expect(isTooOld(version)).toBe(false);
  });

  it.each([
    ["1.29.9", true],
    ["1.3.0", true],
    ["0.31.0", true],
    ["nonsense", true],
    ["1.30.0", false],
    ["1.100.2-dev", false],
    ["2.0.0", false],
  ])("%s is too old: %s", (version, expected) => {
    expect(isTooOld(version)).toBe(expected);
  });

  // Elsewhere a library that was changed may not be loaded at all.
  it.runIf(process.platform === "linux")(
    "that is too old is refused, with the version that is not",
    async () => {
      const dir = await mkdtemp(join(tmpdir(), "oryx-library-"));
      try {
        const path = join(dir, "libonnxruntime.so");
        const bytes = await readFile(installedLibrary());
        bytes.write("1.17", bytes.indexOf(`\0${OLDEST_VERSION}.`) + 1);
        await writeFile(path, bytes);
        await expect(createNodeRuntime({ libraryPath: path })).rejects.toMatchObject({
          code: "runtime_missing",
          message: expect.stringContaining(`version 1.17.0 is older than ${OLDEST_VERSION}`),
          remedy: expect.stringContaining(`${OLDEST_VERSION} or later`),
        });
      } finally {
        await rm(dir, { recursive: true });
      }
    },
  );
});
