import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { multipliesExactly, PRODUCT_PROBE } from "./products.ts";
import { createNodeRuntime } from "./runtime.ts";

it.runIf(process.platform === "linux" && process.arch === "x64")(
  "products of bytes are found exact where the processor says that it has VNNI, and nowhere else",
  async () => {
    const hasVnni = /\bavx(512)?_vnni\b/.test(readFileSync("/proc/cpuinfo", "utf8"));
    const runtime = await createNodeRuntime({ threads: 1 });
    const session = await runtime.load({ onnx: PRODUCT_PROBE, weights: new Map() });
    expect(await multipliesExactly(session)).toBe(hasVnni);
    await session.close();
    await runtime.close();
  },
);
