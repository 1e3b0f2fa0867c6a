import { describe, expect, it } from "vitest";
import { RecordedIo } from "../../test/support/recorded-io.ts";
import { main } from "./main.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const IMAGE = `${GOLDEN}/media/image.png`;

async function run(argv: readonly string[], env: Record<string, string> = {}) {
  const io = new RecordedIo({ env: { ORYX_MODEL: GOLDEN, ...env } });
  return { exitCode: await main(argv, io), out: io.out, err: io.err };
}

describe("a call that makes no sense", () => {
  const calls: [argv: string[], told: RegExp][] = [
    [["akk"], /unknown command 'akk'\. Did you mean ask\?/],
    [["ask"], /there is no question\. Ask like this/],
    [["ask", "  "], /the question is empty/],
    [["ask", IMAGE], /there is no question: the last word, .*image\.png, is a file\. Put the question after/],
    [["ask", "holiday.mp4"], /there is no question: the last word, holiday\.mp4, is a file/],
    [["ask", "--frames", "What?"], /--frames is given, but no frames/],
    [["ask", "What?", "--max-frmes", "3"], /unknown option '--max-frmes'\. Did you mean --max-frames\?/],
    [["ask", "What?", "--max-frames"], /'--max-frames <n>' argument missing/],
    [["ask", "What?", "--max-frames", "0"], /'--max-frames <n>'.*Give a whole number from 1 to 10000/],
    [["ask", "What?", "--max-frames", "0x10"], /--max-frames/],
    [["ask", "What?", "--max-frames", "1.5"], /--max-frames/],
    [["ask", "What?", "--fps", "0"], /'--fps <rate>'.*Give a number above 0 and at most 1000/],
    [["ask", "What?", "--fps", "1e999"], /--fps/],
    [["ask", "What?", "--compress", "3"], /'--compress <k>'.*Give 1, 2 or 4/],
    [["ask", "What?", "--max-tokens", "many"], /'--max-tokens <n>'.*Give a whole number from 1/],
    [["ask", "What?", "--temperature", "-1"], /'--temperature <t>'.*Give a number from 0 to 100/],
    [["ask", "What?", "--top-k", "-3"], /--top-k/],
    [["ask", "What?", "--top-p", "1.01"], /'--top-p <p>'.*above 0 and at most 1/],
    [["ask", "What?", "--repetition-penalty", "0"], /--repetition-penalty/],
    [["ask", "What?", "--seed", "1e17"], /--seed/],
    [["ask", "What?", "--threads", "0"], /'--threads <n>'.*from 1 to 1024/],
    [["ask", "What?", "--context", "12px"], /--context/],
    [["ask", "What?", "--device", "tpu"], /'--device <name>'.*Allowed choices are cpu, webgpu/],
    [["ask", "What?", "--stop", ""], /--stop/],
    [["ask", "What?", "--context", "99999"], /error\[bad_option\].*from 1 to 32768/],
    [["info", "one", "two"], /too many arguments/],
    [["pull"], /missing required argument 'model'\. See oryx pull --help\./],
    [["bench", "video"], /missing required argument 'file'\. See oryx bench video --help\./],
    [["--nonsense"], /unknown option '--nonsense'\. See oryx --help\./],
    [["ask", "What?", "--kv", "f8"], /'--kv <type>'.*Allowed choices are f32, f16/],
    [["verify", GOLDEN, "--model", GOLDEN, "--thorough"], /--thorough does not go with --model/],
    [["verify", GOLDEN, "--at-least", "90"], /--at-least goes with --model only/],
    [["verify", GOLDEN, "--model", GOLDEN, "--at-least", "101"], /Give a number from 0 to 100/],
  ];

  it.each(calls)("%j is told in a line and exits with 2", async (argv, told) => {
    const { exitCode, out, err } = await run(argv);
    expect(err).toMatch(/^error\[(usage|bad_option)\]: [^\n]+\n$/);
    expect(err).toMatch(told);
    expect([exitCode, out]).toEqual([2, ""]);
  });

  it("is told as JSON too", async () => {
    const { exitCode, out } = await run(["ask", "What?", "--seed", "x", "--json"]);
    expect(JSON.parse(out)).toMatchObject({
      error: { code: "usage", remedy: expect.stringContaining("whole number") },
    });
    expect(exitCode).toBe(2);
  });
});

describe("what is not there or no good", () => {
  const calls: [argv: string[], told: RegExp][] = [
    [
      ["ask", "nowhere.mp4", "What?"],
      /^error\[media_missing\]: there is no file nowhere\.mp4\. Check the path\.\n$/,
    ],
    [["ask", "what", "is this?"], /^error\[media_missing\].*needs quotes/],
    [["ask", "src", "What?"], /^error\[media_unreadable\]: src is a folder\. Name the files in it/],
    [["ask", "--frames", "src", "What?"], /^error\[media_empty\]: the folder src has no images/],
    [["ask", `${GOLDEN}/config.json`, "What?"], /^error\[media_unsupported\]/],
    [["ask", "--model", "nowhere", "What?"], /^error\[model_missing\]/],
    [["ask", "--model", "org/name", "What?"], /^error\[model_missing\].*Run: oryx pull org\/name/],
    [["ask", "--model", "src", "What?"], /^error\[model_missing\].*config\.json/],
    [["chat", "nowhere.png"], /^error\[media_missing\]/],
    [["info", "nowhere"], /^error\[model_missing\]/],
    [["pull", "no id"], /^error\[hub_invalid_id\]/],
    [["pull", "org/name"], /^error\[hub_not_found\]/],
    [["ask", "a\nb\u001b[2J.mp4", "What?"], /^error\[media_missing\]: there is no file a b \[2J\.mp4\./],
  ];

  it.each(calls)("%j is told in a line and exits with 1", async (argv, told) => {
    const { exitCode, out, err } = await run(argv, {
      HF_HUB_CACHE: "test/no-such-cache",
      HF_HUB_OFFLINE: "1",
    });
    expect(err).toMatch(/^error\[\w+\]: [^\n]+\n$/);
    expect(err).toMatch(told);
    expect([exitCode, out]).toEqual([1, ""]);
  });

  it("comes with stacks and causes when --debug is given", async () => {
    const { err } = await run(["ask", "--model", "src", "What?", "--debug"]);
    expect(err).toMatch(/^error\[model_missing\].*\nOryxError: .*\n +at (?:.*\n)*caused by: Error: ENOENT/);
  });
});

describe("help", () => {
  it("lists the verbs with examples, and names limits and defaults", async () => {
    const { exitCode, out, err } = await run(["--help"]);
    expect(out).toContain("ask [media...] <question>");
    expect(out).toContain("Examples:");
    expect([exitCode, err]).toEqual([0, ""]);
    const ask = await run(["ask", "--help"]);
    expect(ask.out).toMatch(/--max-frames <n> +[\s\S]*?default: 64,[\s\S]*?most: 10000/);
  });

  it("names what ask takes, and defaults as they are written", async () => {
    const { out } = await run(["ask", "--help"]);
    expect(out).toMatch(/^Usage: oryx ask \[options\] \[media\.\.\.\] <question>$/m);
    expect(out).toMatch(/^Arguments:\n +media +images.*\n +question +the last word/m);
    expect((await run(["bench", "llm", "--help"])).out).toContain("(default: 128,512)");
  });

  it.each(["ask", "chat", "info", "pull", "convert", "verify", "bench"])(
    "of %s fits a terminal of 80 columns",
    async (verb) => {
      const io = new RecordedIo({ terminal: true, columns: 80 });
      await main([verb, "--help"], io);
      const long = io.out.split("\n").filter((line) => line.length > 80);
      expect(long).toEqual([]);
    },
  );

  it("stands in for a missing verb, on stderr", async () => {
    const { exitCode, out, err } = await run([]);
    expect(err).toContain("Usage: oryx");
    expect([exitCode, out]).toEqual([2, ""]);
  });

  it("--version prints the package's version", async () => {
    const { version } = await import("../../package.json", { with: { type: "json" } }).then((m) => m.default);
    expect(await run(["--version"])).toEqual({ exitCode: 0, out: `${version}\n`, err: "" });
  });
});
