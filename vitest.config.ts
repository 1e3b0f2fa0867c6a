import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // Tests open native libraries (ONNX Runtime, FFmpeg): processes isolate them, and two match the smallest machine.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
  },
});
