import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // Tests open native libraries (ONNX Runtime, FFmpeg): processes isolate them, and two match the smallest machine.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    // What one test has encoded must not spare another one its work; those about the cache turn it on, and name a folder.
    env: { ORYX_CACHE: "off" },
  },
});
