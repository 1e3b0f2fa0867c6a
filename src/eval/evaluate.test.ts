import { describe, expect, it } from "vitest";
import { KINDS, type Kind, type WorldOptions, type WorldTurn } from "../world/sample.ts";
import { FIRST_TRAINING_SEED } from "../world/seeds.ts";
import { evaluateWorld } from "./evaluate.ts";
import type { Answerer } from "./question.ts";
import { worldTable } from "./report.ts";
import { MOST } from "./seeds.ts";
import { COLUMNS, TOPICS, type World } from "./world.ts";

const DOT = { width: 1, height: 1, data: Uint8Array.of(1, 2, 3) };

/** A world whose answers tell how the sample was drawn. Every fourth sample about steps asks for all of them. */
const LABELS: World = {
  turns(seed: number, { split, scale = 1, kinds }: WorldOptions): WorldTurn[] {
    const [kind] = Object.keys(kinds) as [Kind];
    const list = kind === "steps" && seed % 4 === 3 ? " 1. open 2. close" : "";
    const other = { kind, question: "The last one?", answer: "never" };
    return [{ kind, question: `Which ${kind}?`, answer: `${split} ${scale} ${seed}${list}` }, other];
  },
  async sample(seed, options) {
    const media = { modality: "image" as const, pictures: [DOT], timesS: [0] };
    return { id: `sample ${seed}`, media, turns: this.turns(seed, options) };
  },
  score: ({ answer }, got) => (got === answer ? 1 : 0),
};

const perfect: Answerer = async ({ expected }) => expected;
const silent: Answerer = async () => "";

describe("evaluateWorld", () => {
  it("gives an answerer who knows everything 100% everywhere, one who knows nothing 0%", async () => {
    for (const [answerer, share] of [
      [perfect, 1],
      [silent, 0],
    ] as const) {
      const { rows } = await evaluateWorld(LABELS, answerer, { seed: 0, count: 2 });
      for (const { rates } of rows) for (const rate of Object.values(rates)) expect(rate.rate).toBe(share);
      expect(rows.length).toBeGreaterThan(TOPICS.length);
    }
  });

  it("asks about every kind, each topic as often as asked for, and counts each question in one group", async () => {
    const { rows, answers } = await evaluateWorld(LABELS, perfect, { seed: 0, count: 3 });
    const groups = rows.filter(({ topic }) => topic === undefined);
    for (const column of COLUMNS) {
      const asked = answers.filter((answer) => answer.column === column);
      const topics = new Set(asked.map(({ topic }) => topic));
      expect(asked).toHaveLength(3 * topics.size);
      expect(groups.reduce((sum, { rates }) => sum + (rates[column]?.questions ?? 0), 0)).toBe(asked.length);
    }
    expect(new Set(answers.map(({ question }) => question))).toEqual(
      new Set(KINDS.filter((k) => k !== "letter" && k !== "page").map((k) => `Which ${k}?`)),
    );
  });

  it("adds up how far another form of the model agrees, over all answers", async () => {
    const agree = async (_: unknown, answer: string) => ({ tokens: answer.length, same: 1 });
    const { answers, agreement } = await evaluateWorld(LABELS, perfect, { seed: 0, count: 1, agree });
    const tokens = answers.reduce((sum, { got }) => sum + got.length, 0);
    expect(agreement).toEqual({ tokens, same: answers.length });
    expect((await evaluateWorld(LABELS, perfect, { seed: 0, count: 1 })).agreement).toBeUndefined();
  });

  it("tells lists of steps from questions about single ones", async () => {
    const { answers } = await evaluateWorld(LABELS, perfect, { seed: 0, count: 5, kinds: ["steps"] });
    for (const { topic, expected } of answers) expect(expected.includes("1. ")).toBe(topic === "all steps");
    expect(answers).toHaveLength(2 * 2 * 5);
  });

  it("draws from seeds below training's, none twice in a column or in another evaluation", async () => {
    const seedsOf = async (seed: number) => {
      const { answers } = await evaluateWorld(LABELS, perfect, { seed, count: 3 });
      return answers.filter(({ column }) => column === "seeds").map((a) => Number(a.expected.split(" ")[2]));
    };
    const seeds = [...(await seedsOf(0)), ...(await seedsOf(1)), ...(await seedsOf(MOST.seed))];
    expect(new Set(seeds).size).toBe(3 * 3 * TOPICS.length);
    expect(Math.max(...seeds)).toBeLessThan(FIRST_TRAINING_SEED);
  });

  it("draws each column as it is called, and larger pictures from the seeds of the others", async () => {
    const { answers } = await evaluateWorld(LABELS, perfect, { seed: 5, count: 1, kinds: ["read"] });
    expect(answers.map(({ column }) => column)).toEqual(COLUMNS);
    const [seeds, combinations, larger] = answers.map(({ expected }) => expected);
    expect(seeds).toMatch(/^train 1 /);
    expect(combinations).toMatch(/^heldout 1 /);
    expect(larger).toBe(seeds?.replace("train 1", "train 2"));
  });

  it("tells how far it is, and at a signal what has been answered", async () => {
    const told: number[] = [];
    const ending = new AbortController();
    const run = evaluateWorld(LABELS, perfect, {
      ...{ seed: 0, count: 4, kinds: ["count"], signal: ending.signal },
      onProgress: ({ done, total }) => {
        told.push(done);
        expect(total).toBe(12);
        if (done === 6) ending.abort();
      },
    });
    const { answers, rows, total } = await run;
    expect(told.at(-1)).toBe(6);
    expect([answers.length, total]).toEqual([6, 12]);
    expect(rows[0]?.rates).toMatchObject({ seeds: { questions: 4 }, combinations: { questions: 2 } });
    expect(rows[0]?.rates.larger).toBeUndefined();
  });

  it("has nothing to tell when it is stopped before the first answer", async () => {
    const options = { seed: 0, count: 1, signal: AbortSignal.abort() };
    await expect(evaluateWorld(LABELS, perfect, options)).rejects.toMatchObject({ code: "aborted" });
  });

  it("hands back as many wrong answers as asked for, from everywhere, with what they are about", async () => {
    const { wrong } = await evaluateWorld(LABELS, async () => "no", { seed: 1, count: 10, show: 20 });
    expect(wrong).toHaveLength(20);
    expect(new Set(wrong.map(({ answer }) => answer.id)).size).toBe(20);
    expect(new Set(wrong.map(({ answer }) => answer.column)).size).toBe(3);
    for (const { answer, question } of wrong) {
      expect(question.sample.id).toBe(answer.sample);
      expect(answer).toMatchObject({ got: "no", expected: question.expected, score: 0 });
    }
  });
});

describe("worldTable", () => {
  /** What the printed table says: the figures of its cells, by line and column. */
  function parsed(table: string): Map<string, Record<string, number[]>> {
    const [head = [], , ...body] = table.split("\n").map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
    const figures = (cell = "") => (cell.match(/\d+\.\d/g) ?? []).map(Number);
    return new Map(
      body.map(([title = "", ...cells]) => [
        title,
        Object.fromEntries(head.slice(1).map((column, i) => [column, figures(cells[i])])),
      ]),
    );
  }

  it("says what was counted, in lines of one width", async () => {
    const half: Answerer = async ({ expected, id }) => (/read.*0$/.test(id) ? "wrong" : expected);
    const kinds: Kind[] = ["count", "read", "describe"];
    const { rows } = await evaluateWorld(LABELS, half, { seed: 0, count: 2, kinds });
    const table = worldTable(rows);
    expect(new Set(table.split("\n").map((line) => line.length)).size).toBe(1);
    const lines = parsed(table);
    expect([...lines.keys()]).toEqual([
      ...["image questions", "- count", "- read"],
      ...["descriptions, facts (F1)", "- image"],
    ]);
    expect(lines.get("image questions")?.["held-out seeds"]?.[0]).toBe(75);
    expect(lines.get("- read")?.["twice the size"]).toEqual([50, 9.5, 90.5]);
    expect(lines.get("- count")?.["held-out combinations"]?.[0]).toBe(100);
  });

  it("leaves columns out that nothing was asked in", async () => {
    const { rows } = await evaluateWorld(LABELS, perfect, { seed: 0, count: 1, kinds: ["motion"] });
    const columns = parsed(worldTable(rows)).get("- motion");
    expect(Object.keys(columns ?? {})).toEqual(["held-out seeds", "held-out combinations"]);
  });

  it("shows targets, and whether they are reached", async () => {
    const targets = { image: { seeds: 0.9, combinations: 1 }, steps: { seeds: 0.5 } };
    const most: Answerer = async ({ expected, text }) => (text.includes("steps") ? "" : expected);
    const options = { seed: 0, count: 1, kinds: ["count", "steps"] as const, targets };
    const table = worldTable((await evaluateWorld(LABELS, most, options)).rows);
    expect(table).toMatch(/image questions .* ✓ 90\.0 .* ✓ 100\.0 /);
    expect(table).toMatch(/step lists.* 0\.0 \(.*\) ✗ 50\.0 /);
    expect(table.match(/[✓✗]/g)).toHaveLength(3);
  });
});
