import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

interface Lock {
  packages: Record<string, { hasInstallScript?: boolean; version?: string }>;
}

it("installing runs no script of a dependency", () => {
  // onnxruntime-node's would download CUDA libraries and fail without them, node-av's an ffmpeg that is not used.
  // npm runs what the lock file marks; when it has put a mark back, delete the `hasInstallScript` lines again.
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as Lock;
  const marked = Object.entries(packages).filter(([, p]) => p.hasInstallScript);
  expect(marked.map(([name]) => name)).toEqual([]);
});

it("every dependency is pinned", () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync("package.json", "utf8")) as Record<
    string,
    Record<string, string>
  >;
  for (const version of Object.values({ ...dependencies, ...devDependencies })) {
    expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  }
});
