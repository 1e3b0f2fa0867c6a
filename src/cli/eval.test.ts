import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RecordedIo } from "../../test/support/recorded-io.ts";
import { main } from "./main.ts";

const FEW = ["--count", "2", "--kinds", "count,motion"];

describe("oryx eval world", () => {
  let dir: string;
  let model: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "oryx-cli-eval-"));
    model = join(dir, "model");
    await cp("test/fixtures/oryx-qwen-tiny", model, { recursive: true });
    const config = join(model, "config.json");
    const { mm_views } = JSON.parse(await readFile("recipes/oryx-tiny/config.json", "utf8"));
    const random = { ...JSON.parse(await readFile(config, "utf8")), mm_views, random_weights: true };
    await writeFile(config, JSON.stringify(random));
  });
  afterAll(() => rm(dir, { recursive: true }));

  async function run(words: string[], setting = {}) {
    const io = new RecordedIo({ env: { ORYX_MODEL: model }, ...setting });
    return { exitCode: await main(["eval", "world", ...words], io), out: io.out, err: io.err };
  }

  it("prints a table, near zero for random weights", async () => {
    const { out, err, exitCode } = await run(FEW);
    const lines = out.trimEnd().split("\n");
    expect(lines.map((line) => line.split("|")[1]?.trim())).toEqual([
      "",
      expect.stringMatching(/^-+$/),
      "image questions",
      "- count",
      "video and multiple choice",
      "- motion",
    ]);
    for (const line of lines.slice(2)) expect(line).toMatch(/\| +0\.0 \(0\.0 to \d+\.\d\)/);
    expect(err).toMatch(/random/);
    expect(exitCode).toBe(0);
  });

  it("writes the same answers at every run, and draws wrong ones", async () => {
    const [first, second] = [join(dir, "first.json"), join(dir, "second.json")];
    const pictures = join(dir, "pictures");
    const { out } = await run([...FEW, "--json", "--out", first, "--show", "3", "--pictures", pictures]);
    const report = JSON.parse(out);
    expect(report).toMatchObject({ eval: "world", seed: 0, count: 2, randomWeights: true });
    expect(report.rows[0].rates.seeds).toMatchObject({ questions: 2, rate: 0, low: 0 });
    expect(report.wrong).toHaveLength(3);
    expect((await readdir(pictures)).sort()).toEqual(
      report.wrong.map(({ id }: { id: string }) => `${id.replaceAll("/", "-")}.png`).sort(),
    );
    await run([...FEW, "--quiet", "--out", second]);
    const written = JSON.parse(await readFile(first, "utf8"));
    expect(written.answers).toHaveLength(2 * 3 + 2 * 2);
    expect(JSON.parse(await readFile(second, "utf8")).answers).toEqual(written.answers);
  });

  // Of a trained model, whose answers are cut into tokens again as they were made.
  it("finds that a model agrees with itself", async () => {
    const one = ["--count", "1", "--kinds", "count", "--quiet"];
    const own = [...one, "--model", "models/oryx-tiny", "--against", "models/oryx-tiny"];
    const report = JSON.parse((await run([...own, "--json"])).out);
    expect(report.against).toBe("models/oryx-tiny");
    expect(report.agreement.tokens).toBeGreaterThan(2);
    expect(report.agreement.same).toBe(report.agreement.tokens);
    expect((await run(own)).out).toMatch(
      /finds \d+\.\d\d% of the \d+ tokens of these answers the likeliest too$/m,
    );
  });

  it("says how far it is", async () => {
    const { err } = await run(FEW, { terminal: true });
    expect(err).toContain("seeds, count: 0 of 10 questions");
    expect(err).toContain("combinations, motion: 8 of 10 questions");
  });

  it("tells at Ctrl-C what has been answered, marked as a part, and writes it", async () => {
    const file = join(dir, "stopped.json");
    const io = new RecordedIo({ env: { ORYX_MODEL: model }, terminal: true });
    const write = io.stderr.write.bind(io.stderr);
    io.stderr.write = (text: string) => {
      if (/: [1-9]\d* of 20 questions/.test(text)) io.interrupt();
      return write(text);
    };
    expect(await main(["eval", "world", ...FEW, "--count", "4", "--out", file], io)).toBe(130);
    const { stopped, answers, rows } = JSON.parse(await readFile(file, "utf8"));
    expect(stopped).toEqual({ answered: answers.length, questions: 20 });
    expect(answers.length).toBeGreaterThan(0);
    expect(answers.length).toBeLessThan(20);
    expect(rows[0].rates.seeds.questions).toBeGreaterThan(0);
    expect(io.out).toMatch(/^\| image questions /m);
    expect(io.out.trimEnd().split("\n").at(-1)).toBe(`stopped behind ${answers.length} of 20 questions`);
  });

  it.each([
    [["--count", "0"], "usage"],
    [["--seed", "-1"], "usage"],
    [["--kinds", "count,dreams"], "usage"],
    [["--kinds", ""], "usage"],
    [["--show", "many"], "usage"],
    [["--pictures", "there"], "usage"],
    [["--epochs", "3"], "usage"],
    [["everything"], "usage"],
  ])("ends with 2 when called with %s", async (words, code) => {
    const { err, exitCode } = await run(words);
    expect(err).toMatch(new RegExp(`^error\\[${code}\\]: .+\\. .+\\n$`, "s"));
    expect(exitCode).toBe(2);
  });

  it("finds out before the work that its file could not be written", async () => {
    const { err, exitCode } = await run([...FEW, "--out", join(dir, "no/such/folder.json")]);
    expect(err).toMatch(/^error\[disk\]: could not write .*folder\.json: ENOENT.*\. /);
    expect(exitCode).toBe(1);
    expect((await run([...FEW, "--out", dir])).err).toMatch(/^error\[disk\]: .* is a folder/);
  });

  it("says when there is no such model", async () => {
    const { err, exitCode } = await run(["--model", join(dir, "nothing")]);
    expect(err).toMatch(/^error\[model_missing\]/);
    expect(exitCode).toBe(1);
  });
});
