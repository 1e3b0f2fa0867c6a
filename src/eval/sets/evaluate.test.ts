import { appendFile, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OryxError } from "../../core/errors.ts";
import { AnswerLog } from "./answer-log.ts";
import type { Given, SetAnswerer } from "./ask.ts";
import { evaluateSet } from "./evaluate.ts";
import { mediaKey } from "./media-files.ts";
import { planSet } from "./plan.ts";
import type { SetQuestion } from "./question.ts";

const TOOK: Given["took"] = {
  items: [{ name: "v", frames: 4, k: 2, size: "64x64", visualTokens: 20 }],
  visualTokens: 20,
  promptTokens: 30,
  isReduced: false,
  reused: { pictures: 0, promptTokens: 0 },
  timings: { decodeMs: 1, encodeMs: 2, prefillMs: 3, firstTokenMs: 6, totalMs: 7, tokensPerSecond: 8 },
};

const questions: SetQuestion[] = ["v1", "v2", "v1", "v3", "v2", "gone"].map((name, i) => ({
  kind: "choice",
  id: `q${i}`,
  media: [{ name }],
  text: `Which ${i}?`,
  options: ["x", "y"],
  right: i % 2,
  categories: { video: [name] },
}));
const secret: SetQuestion = {
  ...(questions[0] as SetQuestion & { kind: "choice" }),
  id: "s",
  right: undefined,
};
const files = new Map(
  ["v1", "v2", "v3"].map(
    (name) => [mediaKey({ name }), { path: `/m/${name}.mp4`, isFolder: false }] as const,
  ),
);
const given = (chosen: number): Given => ({ got: "AB"[chosen] as string, chosen, tokens: 0, took: TOOK });
const alwaysFirst: SetAnswerer = async () => given(0);

describe("planSet", () => {
  it("asks questions about the same video one after the other, and names what is missing", () => {
    const plan = planSet([...questions, secret], files, {});
    expect(plan.asked.map(({ question }) => question.id)).toEqual(["q0", "q2", "q1", "q4", "q3"]);
    expect(plan).toMatchObject({
      missing: [{ id: "q5", name: "gone", why: "missing" }],
      unlabelled: 1,
      media: 3,
    });
    const unscored = planSet([...questions, secret], files, { unscored: true });
    expect(unscored.asked.map(({ question }) => question.id)).toContain("s");
  });

  it("takes the first ones, or by a seed the same ones every time", () => {
    const ids = (options: object) => planSet(questions, files, options).asked.map((q) => q.question.id);
    expect(ids({ limit: 2 })).toEqual(["q0", "q1"]);
    expect(ids({ limit: 3, shuffleSeed: 1 })).toEqual(ids({ limit: 3, shuffleSeed: 1 }));
    const drawn = new Set([1, 2, 3, 4, 5, 6].map((shuffleSeed) => ids({ limit: 2, shuffleSeed }).join()));
    expect(drawn.size).toBeGreaterThan(2);
    expect(ids({ shuffleSeed: 1 }).sort()).toEqual(["q0", "q1", "q2", "q3", "q4"]);
  });
});

describe("evaluateSet", () => {
  const plan = planSet(questions, files, {});

  it("counts what is right, in all and by category", async () => {
    const { rows } = await evaluateSet(plan, alwaysFirst);
    expect(rows[0]?.choice).toMatchObject({ accuracy: { questions: 5, rate: 3 / 5 }, chance: 1 / 2 });
    const byVideo = rows.slice(1).map(({ category, choice }) => [category?.value, choice?.accuracy.rate]);
    expect(byVideo).toEqual([
      ["v1", 1],
      ["v2", 0.5],
      ["v3", 0],
    ]);
  });

  it("goes on after a question that fails, and stops when it is not the question", async () => {
    const failing = (code: "media_malformed" | "runtime_failed"): SetAnswerer => {
      return async ({ id }) => {
        if (id === "q2") throw new OryxError(code, "it is damaged", "mend it");
        return given(0);
      };
    };
    const { rows, failed } = await evaluateSet(plan, failing("media_malformed"));
    expect(failed).toEqual([{ id: "q2", code: "media_malformed", message: "it is damaged" }]);
    expect(rows[0]?.choice?.accuracy.questions).toBe(4);
    await expect(evaluateSet(plan, failing("runtime_failed"))).rejects.toMatchObject({
      code: "runtime_failed",
    });
  });

  it("gives up when nothing but failures comes", async () => {
    const many = Array.from({ length: 20 }, (_, i) => ({ ...(questions[0] as SetQuestion), id: `m${i}` }));
    let asked = 0;
    const answer: SetAnswerer = async () => {
      asked++;
      throw new OryxError("bad_option", "frameArea is 1", "give more");
    };
    await expect(evaluateSet(planSet(many, files, {}), answer)).rejects.toMatchObject({ code: "bad_option" });
    expect(asked).toBe(8);
  });

  it("passes on the stretch that is meant, unless the video was cut to it", async () => {
    const part = { fromS: 1, toS: 2 };
    const media = [{ name: "v1", part, cutFolder: "_segment" }];
    const one = [{ ...(questions[0] as SetQuestion), media }];
    const at = async (path: string) => {
      let got: unknown;
      const found = new Map([[mediaKey({ name: "v1" }), { path, isFolder: false }]]);
      await evaluateSet(planSet(one, found, {}), async (_, __, options) => {
        got = options.part;
        return given(0);
      });
      return got;
    };
    expect(await at("/m/star/Charades/v1.mp4")).toEqual(part);
    expect(await at("/m/star_segment/Charades/v1.mp4")).toEqual(part);
    expect(await at("/m/star/Charades_segment/v1.mp4")).toBeUndefined();
  });

  it("says how far it is", async () => {
    const told: string[] = [];
    const onProgress = ({ done, total, id }: { done: number; total: number; id?: string | undefined }) =>
      told.push(`${done}/${total} ${id}`);
    await evaluateSet(plan, alwaysFirst, { onProgress });
    expect(told).toEqual(["0/5 q0", "1/5 q2", "2/5 q1", "3/5 q4", "4/5 q3", "5/5 undefined"]);
  });
});

describe("a log of answers", () => {
  const settings = { choice: "likelihood", visual: { maxFrames: 4 } };
  const plan = planSet(questions, files, {});
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "oryx-log-"));
  });
  afterAll(() => rm(dir, { recursive: true }));

  /** Evaluates with a log. @returns ids that were asked, and the evaluation */
  async function run(name: string, stopAt = Number.POSITIVE_INFINITY) {
    const log = await AnswerLog.open(join(dir, name), settings);
    const asked: string[] = [];
    const answer: SetAnswerer = async ({ id }) => {
      if (asked.length === stopAt) throw new Error("killed");
      asked.push(id);
      return given(id === "q2" ? 1 : 0);
    };
    try {
      return { asked, evaluation: await evaluateSet(plan, answer, { log }).catch(() => undefined) };
    } finally {
      await log.close();
    }
  }

  it("lets an evaluation that was killed go on where it was, with the same scores", async () => {
    const whole = await run("whole.jsonl");
    expect((await run("cut.jsonl", 2)).asked).toEqual(["q0", "q2"]);
    const rest = await run("cut.jsonl");
    expect(rest.asked).toEqual(["q1", "q4", "q3"]);
    expect(rest.evaluation?.resumed).toBe(2);
    expect(rest.evaluation?.rows).toEqual(whole.evaluation?.rows);
    expect((await run("cut.jsonl")).asked).toEqual([]);
  });

  it("has the plan, the answer and the score of each question, as JSON lines", async () => {
    await run("lines.jsonl");
    const lines = (await readFile(join(dir, "lines.jsonl"), "utf8")).trimEnd().split("\n");
    expect(lines).toHaveLength(6);
    expect(JSON.parse(lines[0] as string)).toEqual({ oryx_eval: 1, settings });
    expect(JSON.parse(lines[1] as string)).toMatchObject({
      id: "q0",
      given: { got: "A", chosen: 0, took: TOOK },
      right: 0,
      score: { right: 1 },
      categories: { video: ["v1"] },
    });
  });

  it("does without a last line that was cut at any byte", async () => {
    await run("bytes.jsonl");
    const path = join(dir, "bytes.jsonl");
    const whole = await readFile(path);
    const lastLine = whole.lastIndexOf(10, whole.length - 2) + 1;
    for (const length of [lastLine, lastLine + 1, whole.length - 1]) {
      await truncate(path, length);
      expect((await run("bytes.jsonl")).asked).toEqual(["q3"]);
      expect(await readFile(path)).toEqual(whole);
    }
    await truncate(path, 5); // not even the first line
    expect((await run("bytes.jsonl")).asked).toHaveLength(5);
  });

  it("is not taken when a question was changed", async () => {
    const log = await AnswerLog.open(join(dir, "changed.jsonl"), settings);
    const [question] = questions as [SetQuestion];
    await log.note(question, "10 bytes", given(0), {});
    await log.close();
    const again = await AnswerLog.open(join(dir, "changed.jsonl"), settings);
    expect(again.given(question, "10 bytes")).toEqual(given(0));
    expect(again.given({ ...question, text: "Which other?" }, "10 bytes")).toBeUndefined();
    expect(again.given(question, "11 bytes")).toBeUndefined();
    await again.close();
  });

  it("is refused when it was written with other settings, or is damaged", async () => {
    await run("refused.jsonl");
    const path = join(dir, "refused.jsonl");
    const other = AnswerLog.open(path, { ...settings, visual: { maxFrames: 8 } });
    await expect(other).rejects.toMatchObject({
      code: "answers_invalid",
      message: expect.stringContaining('visual was {"maxFrames":4}'),
    });
    await appendFile(path, '{"id": "q9"}\n');
    await expect(AnswerLog.open(path, settings)).rejects.toThrow(/line 7 is damaged/);
    await writeFile(path, "my thesis\n");
    await expect(AnswerLog.open(path, settings)).rejects.toThrow(/no log of answers/);
    expect(await readFile(path, "utf8")).toBe("my thesis\n");
    await writeFile(path, "my thesis, without a line end");
    await expect(AnswerLog.open(path, settings)).rejects.toThrow(/no log of answers/);
    await expect(AnswerLog.open(dir, settings)).rejects.toMatchObject({ code: "answers_invalid" });
    await expect(AnswerLog.open(join(dir, "no/log"), settings)).rejects.toMatchObject({ code: "disk" });
  });
});
