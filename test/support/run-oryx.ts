import { spawn } from "node:child_process";

export interface Ended {
  code: number | null;
  out: string;
  err: string;
}

export interface RunOptions {
  /** What stdin holds. */
  input?: string;
  /** Called when the first output is there: it may close the child's stdout or interrupt it. */
  onFirstOutput?: (child: ReturnType<typeof spawn>) => void;
}

/** Runs the command in a process of its own, with a golden model as its default. */
export function runOryx(words: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = spawn(process.execPath, ["bin/oryx.js", ...words], {
    env: { ...process.env, ORYX_MODEL: "test/fixtures/oryx-qwen-tiny" },
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
