import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";

const built = existsSync("dist/index.js");

describe.skipIf(!built)("a process that loads a model (needs the build in dist/)", () => {
  const script = (body: string) => `
    import { Oryx } from "./dist/index.js";
    const oryx = await Oryx.load("test/fixtures/oryx-qwen-tiny");
    ${body}
    await oryx.close();`;

  it("has ONNX Runtime's usage events switched off", () => {
    const body = "console.log(process.env.ORT_DISABLE_TELEMETRY);";
    const { stdout } = spawnSync("node", ["--input-type=module", "-e", script(body)], { encoding: "utf8" });
    expect(stdout.trim()).toBe("1");
  });

  it("survives a command line of 100,000 characters, which those events would match with a regular expression", () => {
    const args = ["--input-type=module", "-e", script(""), "-", "x".repeat(100_000)];
    const { status, signal } = spawnSync("node", args, { encoding: "utf8" });
    expect([status, signal]).toEqual([0, null]);
  });
});
