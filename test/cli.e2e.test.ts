import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { runOryx } from "./support/run-oryx.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const IMAGE = `${GOLDEN}/media/image.png`;

// Skipped only in a working tree that has not been built; npm ci and npm run build make dist, and CI has it.
describe.skipIf(!existsSync("dist/cli/main.js"))("the oryx command", () => {
  it("answers, and leaves nothing behind that keeps it from ending", async () => {
    const { code, out, err } = await runOryx(["ask", IMAGE, "What is this?", "--max-tokens", "4", "--json"]);
    expect(JSON.parse(out)).toMatchObject({ model: GOLDEN, tokens: 4 });
    expect([code, err]).toEqual([0, ""]);
  });

  it("holds a conversation through pipes", async () => {
    const input = "Hello?\nAgain?\n";
    const { code, out, err } = await runOryx(["chat", IMAGE, "--max-tokens", "3", "--json"], { input });
    const lines = out.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).tokens)).toEqual([3, 3]);
    expect([code, err]).toEqual([0, ""]);
  });

  it("tells its version, and what was wrong with a call", async () => {
    const { version } = JSON.parse(readFileSync("package.json", "utf8"));
    expect((await runOryx(["--version"])).out).toBe(`${version}\n`);
    const { code, err } = await runOryx(["ask", "nowhere.mp4", "What?"]);
    expect(err).toBe("error[media_missing]: there is no file nowhere.mp4. Check the path.\n");
    expect(code).toBe(1);
  });

  it("ends quietly when its reader goes away, and with 130 at Ctrl-C", async () => {
    const words = ["ask", "Count.", "--max-tokens", "20000"];
    const unread = await runOryx(words, { onFirstOutput: (child) => child.stdout?.destroy() });
    expect([unread.code, unread.err]).toEqual([0, ""]);
    const interrupted = await runOryx(words, { onFirstOutput: (child) => child.kill("SIGINT") });
    expect([interrupted.code, interrupted.err]).toEqual([130, ""]);
  });
});
