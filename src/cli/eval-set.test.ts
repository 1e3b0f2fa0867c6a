import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RecordedIo } from "../../test/support/recorded-io.ts";
import { LAYOUTS } from "../eval/sets/layouts.ts";
import { softwareHash } from "../node/versions.ts";
import { main } from "./main.ts";

const QUESTIONS = [
  { media: "one", question: "What is it?", options: ["a cat", "a dog"], answer: "B", category: "what" },
  { media: "f.png", question: "Which colour?", answers: ["red"], category: "colour" },
  { media: "one.png", question: "What else?", options: ["x", "y", "z"], answer: 2, category: "what" },
  { media: "gone.mp4", question: "What moves?", options: ["x", "y"], answer: 0 },
];

describe("oryx eval FILE", () => {
  let dir: string;
  let model: string;
  let file: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "oryx-cli-eval-set-"));
    model = join(dir, "model");
    await cp("test/fixtures/oryx-qwen-tiny", model, { recursive: true });
    await copyFile("test/fixtures/oryx-qwen-tiny/media/f0.png", join(dir, "one.png"));
    await copyFile("test/fixtures/oryx-qwen-tiny/media/f1.png", join(dir, "f.png"));
    file = join(dir, "questions.jsonl");
    await writeFile(file, QUESTIONS.map((question) => `${JSON.stringify(question)}\n`).join(""));
  });
  afterAll(() => rm(dir, { recursive: true }));

  async function run(words: string[], setting = {}) {
    const io = new RecordedIo({ env: { ORYX_MODEL: model }, ...setting });
    const exitCode = await main(["eval", ...words, "--media", join(dir)], io);
    return { exitCode, out: io.out, err: io.err };
  }

  it("tells what it will ask, then the scores", async () => {
    const { out, err, exitCode } = await run([file, "--max-tokens", "4"]);
    expect(exitCode).toBe(0);
    expect(err).toContain("questions: 4 questions in 1 file");
    expect(err).toContain("asked: 3 (2 multiple choice, 1 open) about 2 media");
    expect(err).toMatch(/no media below .*: 1 \(gone\.mp4\)/);
    const cells = out
      .trimEnd()
      .split("\n")
      .map((line) => line.split("|").map((cell) => cell.trim()));
    expect(cells[0]).toEqual([
      "",
      "",
      "questions",
      "right",
      "by chance",
      "exact",
      "F1",
      "ROUGE-L",
      "CIDEr",
      "",
    ]);
    expect(cells.slice(2).map((line) => [line[1], line[2]])).toEqual([
      ["all", "3"],
      ["category", ""],
      ["- what", "2"],
      ["- colour", "1"],
    ]);
    expect(cells[2]?.[4]).toBe("41.7"); // the mean of 1/2 and 1/3
  });

  it("only plans, without a model, when asked to", async () => {
    const { out, exitCode } = await run([file, "--plan", "--model", join(dir, "nothing"), "--limit", "1"]);
    expect(exitCode).toBe(0);
    expect(out).toContain("asked: 1 (1 multiple choice) about 1 media");
  });

  it("goes on from the folder of its answers, with the same scores", async () => {
    const out = join(dir, "run");
    const words = [file, "--json", "--max-tokens", "4", "--out", out];
    const first = JSON.parse((await run([...words, "--limit", "1"])).out);
    expect(first).toMatchObject({ answered: 1, resumed: 0, plan: { asked: 1, questions: 4 } });
    const second = JSON.parse((await run(words)).out);
    expect(second).toMatchObject({ answered: 3, resumed: 1 });
    const third = JSON.parse((await run(words)).out);
    expect(third).toMatchObject({ resumed: 3, rows: second.rows });
    expect(JSON.parse(await readFile(join(out, "scores.json"), "utf8"))).toEqual(third);
    expect(await readFile(join(out, "table.md"), "utf8")).toMatch(/^\| +\| questions/);
    const log = (await readFile(join(out, "answers.jsonl"), "utf8")).trimEnd().split("\n");
    expect(log).toHaveLength(4);
    const { given } = JSON.parse(log[1] as string);
    expect(given.likelihoods).toHaveLength(2);
    expect(given.took.promptTokens).toBeGreaterThan(given.took.visualTokens);
    const other = await run([...words, "--choice", "text"]);
    expect(other.err).toMatch(/^error\[answers_invalid\]: .*choice was "likelihood"/);
    expect(other.exitCode).toBe(1);
  });

  it("does not go on from another version's answers, and names that as the reason", async () => {
    const out = join(dir, "version");
    const words = [file, "--max-tokens", "4", "--limit", "1", "--out", out];
    await run(words);
    const log = join(out, "answers.jsonl");
    const [head = "", ...answers] = (await readFile(log, "utf8")).split("\n");
    const { settings, ...rest } = JSON.parse(head);
    expect(settings.software).toBe(softwareHash());
    const other = JSON.stringify({ ...rest, settings: { ...settings, software: "another" } });
    await writeFile(log, [other, ...answers].join("\n"));
    const { err, exitCode } = await run(words);
    expect(err).toMatch(/error\[answers_invalid\]: .*software was "another"/);
    expect(exitCode).toBe(1);
  });

  it("says at Ctrl-C how to go on, and goes on", async () => {
    const stopped = async (words: string[]) => {
      const io = new RecordedIo({ env: { ORYX_MODEL: model }, terminal: true });
      const write = io.stderr.write.bind(io.stderr);
      io.stderr.write = (text: string) => {
        if (text.includes("of 3 questions")) io.interrupt();
        return write(text);
      };
      const exitCode = await main(["eval", file, "--max-tokens", "4", ...words], io);
      return { exitCode, last: io.screen.at(-1) };
    };
    expect(await stopped([])).toEqual({ exitCode: 130, last: "stopped; answers are kept with --out only" });
    const out = join(dir, "stopped");
    const last = "stopped; give the same command again to go on";
    expect(await stopped(["--out", out])).toEqual({ exitCode: 130, last });
    const whole = JSON.parse((await run([file, "--max-tokens", "4", "--out", out, "--json"])).out);
    expect(whole.answered).toBe(3);
  });

  it("says how far it is", async () => {
    const { err } = await run([file, "--max-tokens", "2"], { terminal: true });
    expect(err).toContain("0 of 3 questions · questions/1");
  });

  it("knows all layouts by name", async () => {
    const { out } = await run(["set", "--help"]);
    for (const { name } of LAYOUTS) expect(out).toContain(`"${name}"`);
  });

  it.each([
    [[], "usage", 2],
    [["no/such/file.json"], "questions_invalid", 1],
    [["FILE", "--format", "mine"], "usage", 2],
    [["FILE", "--limit", "0"], "usage", 2],
    [["FILE", "--choice", "guess"], "usage", 2],
    [["FILE", "--media", "no/such/folder"], "questions_invalid", 1],
    [["FILE", "more"], "usage", 2],
    [["FILE", "--out", "package.json"], "disk", 1],
  ])("ends with an error when called with %j", async (words, code, exit) => {
    const io = new RecordedIo({ env: { ORYX_MODEL: model } });
    const exitCode = await main(["eval", ...words.map((word) => (word === "FILE" ? file : word))], io);
    expect(io.err).toMatch(new RegExp(`error\\[${code}\\]: .+`));
    expect(exitCode).toBe(exit);
  });
});
