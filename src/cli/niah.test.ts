import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RecordedIo } from "../../test/support/recorded-io.ts";
import { softwareHash } from "../node/versions.ts";
import { main } from "./main.ts";

const FEW = ["--frames", "12,66", "--depths", "0,1", "--count", "1", "--max-tokens", "4"];

describe("oryx niah", () => {
  let dir: string;
  let model: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "oryx-cli-niah-"));
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
    return { exitCode: await main(["niah", ...words], io), out: io.out, err: io.err };
  }

  it("tells what there is to do, does it, and leaves figure and report", async () => {
    const out = join(dir, "out");
    const planned = await run([...FEW, "--out", out, "--plan"]);
    expect(planned.out).toMatch(
      /^10 runs; 10 questions left\n.* frames to encode, .* tokens to read.*\n.*about .* s\n$/,
    );
    expect((await readdir(dir)).includes("out")).toBe(false);
    const { out: told, err, exitCode } = await run([...FEW, "--out", out], { terminal: true });
    expect(exitCode).toBe(0);
    const before = err.slice(0, err.indexOf("10 runs; 10 questions left"));
    expect(before).toMatch(/loading .*reading .*drawing films.*measuring speed/s);
    expect(err).toMatch(/runs of this film asked/);
    expect(told).toMatch(/^all frames: 0\.0% .*\nfew frames: .*\nneedle alone: .*\nnothing shown: /);
    const html = await readFile(join(out, "niah.html"), "utf8");
    expect(html).toContain("<svg");
    expect(html).toMatch(/The weights are random/);
    expect(html).not.toMatch(/(src|href)="(?!data:)/);
    expect((await readFile(join(out, "niah.png"))).subarray(1, 4).toString()).toBe("PNG");
    const again = JSON.parse((await run([...FEW, "--out", out, "--plan", "--json"])).out);
    expect(again).toMatchObject({ runs: 10, done: 10, tokens: 0 });
  });

  it("shows what is going on until there is a plan, of which nothing stays", async () => {
    const film = "test/fixtures/videos/h264-bframes.mp4";
    const io = new RecordedIo({ env: { ORYX_MODEL: model }, terminal: true });
    expect(await main(["niah", film, ...FEW, "--out", join(dir, "no"), "--plan"], io)).toBe(0);
    expect(io.err).toMatch(/loading .*reading .*opening films.*measuring speed/s);
    expect(io.screen).toEqual([expect.stringMatching(/^note: the weights of .* are random/)]);
  });

  it("asks about all needles of a folder, or about the first", async () => {
    const needles = join(dir, "needles");
    await cp("test/fixtures/oryx-qwen-tiny/media/image.png", join(needles, "image.png"));
    const entry = { image: "image.png", question: "What is it?", answer: "a picture" };
    await writeFile(join(needles, "two.json"), JSON.stringify([entry, entry]));
    const words = ["--frames", "12", "--depths", "0", "--baselines", "none", "--plan", "--json"];
    const runs = async (...count: string[]) => {
      const { out } = await run([...words, "--needles", needles, "--out", join(dir, "no"), ...count]);
      return JSON.parse(out).runs;
    };
    expect(await runs()).toBe(2);
    expect(await runs("--count", "1")).toBe(1);
  });

  it("says at Ctrl-C how to go on, and goes on", async () => {
    const words = [...FEW, "--count", "4", "--out", join(dir, "stopped")];
    const io = new RecordedIo({ env: { ORYX_MODEL: model }, terminal: true });
    const write = io.stderr.write.bind(io.stderr);
    io.stderr.write = (text: string) => {
      if (text.includes("runs of this film asked")) io.interrupt();
      return write(text);
    };
    expect(await main(["niah", ...words], io)).toBe(130);
    expect(io.screen.at(-1)).toBe("stopped; give the same command again to go on");
    const { runs, done } = JSON.parse((await run([...words, "--plan", "--json"])).out);
    expect(done).toBeGreaterThan(0);
    expect(done).toBeLessThan(runs);
  });

  it("asks a second model, and prints what it found as JSON", async () => {
    const words = [
      ...FEW,
      "--out",
      join(dir, "two"),
      "--baselines",
      "none",
      "--baseline-model",
      model,
      "--json",
    ];
    const found = JSON.parse((await run(words)).out);
    expect(found.arms.map(({ arm }: { arm: string }) => arm)).toEqual(["all", "other"]);
    expect(found.baselineModel.hash).toBe(found.model.hash);
    expect(found.files.png).toBe(join(dir, "two", "niah.png"));
    expect(found.settings.software).toBe(softwareHash());
  });

  it.each([
    ["--frames", "0"],
    ["--frames", "100,many"],
    ["--frames", "20000"],
    ["--depths", "1.5"],
    ["--depths", ""],
    ["--count", "0"],
    ["--variant", "three"],
    ["--distractors", "-1"],
    ["--baselines", "luck"],
    ["--compress", "3"],
    ["--seed", "x"],
  ])("ends with 2 when called with %s %s", async (...words) => {
    const { err, exitCode } = await run([...words, "--out", join(dir, "no")]);
    expect(err).toMatch(/^error\[(usage|bad_option)\]: .+\. .+\n$/s);
    expect(exitCode).toBe(2);
  });

  it("says when films, needles or the model are missing", async () => {
    const code = async (words: string[]) =>
      /error\[(\w+)\]/.exec((await run([...FEW, "--plan", ...words])).err)?.[1];
    expect(await code(["no/such.mp4"])).toBe("media_missing");
    expect(await code(["--needles", join(dir, "nothing")])).toBe("media_missing");
    expect(await code(["--baseline-model", join(dir, "nothing")])).toBe("model_missing");
  });
});
