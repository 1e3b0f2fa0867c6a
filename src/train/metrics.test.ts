import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { drawCurves, writeCurves } from "./curves.ts";
import { type Metric, MetricsLog, readMetrics, Smoothed } from "./metrics.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "oryx-metrics-"));
});
afterEach(() => rm(dir, { recursive: true }));

const metric = (step: number, stage = "0"): Metric => ({
  step,
  stage,
  loss: 6 / step,
  rate: 1e-3,
  gradNorm: 1 + 1 / step,
  tokens: 1000,
  labels: 100,
  seconds: 0.5,
  skipped: 0,
});

describe("metrics", () => {
  it("go on behind what a snapshot knows of, so that no step is told twice", async () => {
    const path = join(dir, "metrics.jsonl");
    const first = await MetricsLog.open(path, 0);
    await first.append(metric(1));
    const known = await first.sync();
    await first.append(metric(2)); // after the snapshot: this step is taken again
    await first.close();
    await writeFile(path, '{"step":3,"lo', { flag: "a" }); // cut by a kill
    const second = await MetricsLog.open(path, known);
    await second.append({ ...metric(2), loss: 9 });
    expect(await second.sync()).toBe((await readFile(path)).length);
    await second.close();
    expect((await readMetrics(path)).map(({ step, loss }) => [step, loss])).toEqual([
      [1, 6],
      [2, 9],
    ]);
  });

  it("are read without half a line", async () => {
    const path = join(dir, "metrics.jsonl");
    await writeFile(path, `${JSON.stringify(metric(1))}\n{"step":2,"lo`);
    expect(await readMetrics(path)).toEqual([metric(1)]);
  });

  it("are smoothed without a bias towards the first value or zero", () => {
    const mean = new Smoothed(4);
    expect(mean.value).toBeNaN();
    expect(mean.add(8)).toBe(8);
    expect(mean.add(4)).toBeCloseTo((0.75 * 8 + 4) / 1.75, 12);
    for (let i = 0; i < 100; i++) mean.add(2);
    expect(mean.value).toBeCloseTo(2, 9);
  });
});

describe("curves", () => {
  it("are drawn for each stage, of a run of any length", async () => {
    const many = Array.from({ length: 5000 }, (_, i) => metric(i + 1, i < 2500 ? "zero" : "joint"));
    const svg = await drawCurves(many);
    expect(svg).toMatch(/^<svg/);
    for (const text of ["zero", "joint", "loss", "learning rate", "gradient norm"])
      expect(svg).toContain(`>${text}<`);
    expect(svg.length).toBeLessThan(1_000_000);
  });

  it("are drawn of one step, and of none", async () => {
    await writeCurves(join(dir, "loss.svg"), [metric(1)]);
    expect(await readFile(join(dir, "loss.svg"), "utf8")).toContain("</svg>");
    expect(await drawCurves([])).toContain("</svg>");
  });
});
