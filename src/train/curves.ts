import type { TopLevelSpec } from "vega-lite";
import { onDisk, replaceFile } from "../files/disk.ts";
import { type Metric, Smoothed } from "./metrics.ts";

/** Points of a curve: more cannot be told apart on a picture of this width. */
const MOST_POINTS = 1000;
const SMOOTHED_OVER = 50;

/** Writes the curves of a run as an SVG picture, in place of the one before. */
export async function writeCurves(path: string, metrics: readonly Metric[]): Promise<void> {
  const svg = await drawCurves(metrics);
  await onDisk(`write ${path}`, () => replaceFile(path, svg));
}

/** Loss (each step, and smoothed), learning rate and gradient norm over the steps, coloured by stage, as SVG. */
export async function drawCurves(metrics: readonly Metric[]): Promise<string> {
  // Drawn at snapshots only, and not at all by a dry run: until then the library is not waited for.
  const [vega, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
  const view = new vega.View(vega.parse(compile(specification(metrics)).spec), { renderer: "none" });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

interface Point {
  step: number;
  stage: string;
  loss: number;
  smooth: number;
  rate: number;
  gradNorm: number;
}

function specification(metrics: readonly Metric[]): TopLevelSpec {
  const points = thinned(smoothed(metrics));
  const x = { field: "step", type: "quantitative" as const, axis: { grid: false } };
  const colour = { field: "stage", type: "nominal" as const, sort: null, title: "stage" };
  const line = (field: string, title: string) => ({
    mark: { type: "line" as const, interpolate: "linear" as const, strokeWidth: 1.5 },
    encoding: { x, y: { field, type: "quantitative" as const, title }, color: colour },
  });
  const dots = {
    mark: { type: "point" as const, filled: true, size: 6, opacity: 0.35 },
    encoding: { x, y: { field: "loss", type: "quantitative" as const }, color: colour },
  };
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v5.json",
    background: "white",
    data: { values: points },
    vconcat: [
      { width: 720, height: 260, layer: [dots, line("smooth", "loss")] },
      { width: 720, height: 90, ...line("rate", "learning rate") },
      { width: 720, height: 90, ...line("gradNorm", "gradient norm") },
    ],
  };
}

/** The loss of each stage with its running mean, which begins anew where the data change. */
function smoothed(metrics: readonly Metric[]): Point[] {
  const means = new Map<string, Smoothed>();
  return metrics.map(({ step, stage, loss, rate, gradNorm }) => {
    const mean = means.get(stage) ?? new Smoothed(SMOOTHED_OVER);
    means.set(stage, mean);
    return { step, stage, loss, smooth: mean.add(loss), rate, gradNorm };
  });
}

/** Every so many points, the last always among them. */
function thinned(points: readonly Point[]): Point[] {
  const each = Math.ceil(points.length / MOST_POINTS);
  return points.filter((_, i) => (points.length - 1 - i) % each === 0);
}
