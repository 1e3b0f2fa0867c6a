import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const IMAGE = `${GOLDEN}/media/image.png`;

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the command in a process of its own; `onFirstOutput` may close its stdout or interrupt it. */
function oryx(
  words: readonly string[],
  options: { input?: string; onFirstOutput?: (child: ReturnType<typeof spawn>) => void } = {},
): Promise<Ended> {
  const child = spawn(process.execPath, ["bin/oryx.js", ...words], {
    env: { ...process.env, ORYX_MODEL: GOLDEN },
  });
  const ended = { out: "", err: "" };
  child.stdout.once("data", () => options.onFirstOutput?.(child));
  child.stdout.on("data", (bytes) => {
    ended.out += bytes;
  });
  child.stderr.on("data", (bytes) => {
    ended.err += bytes;
  });
  child.stdin.end(options.input ?? "");
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, ...ended }));
  });
}

// Skipped only in a working tree that has not been built; npm ci and npm run build make dist, and CI has it.
describe.skipIf(!existsSync("dist/cli/main.js"))("the oryx command", () => {
  it("answers, and leaves nothing behind that keeps it from ending", async () => {
    const { code, out, err } = await oryx(["ask", IMAGE, "What is this?", "--max-tokens", "4", "--json"]);
    expect(JSON.parse(out)).toMatchObject({ model: GOLDEN, tokens: 4 });
    expect([code, err]).toEqual([0, ""]);
  });

  it("holds a conversation through pipes", async () => {
    const input = "Hello?\nAgain?\n";
    const { code, out, err } = await oryx(["chat", IMAGE, "--max-tokens", "3", "--json"], { input });
    const lines = out.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).tokens)).toEqual([3, 3]);
    expect([code, err]).toEqual([0, ""]);
  });

  it("tells its version, and what was wrong with a call", async () => {
    const { version } = JSON.parse(readFileSync("package.json", "utf8"));
    expect((await oryx(["--version"])).out).toBe(`${version}\n`);
    const { code, err } = await oryx(["ask", "nowhere.mp4", "What?"]);
    expect(err).toBe("error[media_missing]: there is no file nowhere.mp4. Check the path.\n");
    expect(code).toBe(1);
  });

  it("ends quietly when its reader goes away, and with 130 at Ctrl-C", async () => {
    const words = ["ask", "Count.", "--max-tokens", "20000"];
    const unread = await oryx(words, { onFirstOutput: (child) => child.stdout?.destroy() });
    expect([unread.code, unread.err]).toEqual([0, ""]);
    const interrupted = await oryx(words, { onFirstOutput: (child) => child.kill("SIGINT") });
    expect([interrupted.code, interrupted.err]).toEqual([130, ""]);
  });
});
