import type { StoredTensor } from "../core/tensor.ts";
import { textTable } from "../core/text-table.ts";
import type { VisionEncoder } from "../engine/encoder.ts";
import { loadEncoder } from "../engine/load.ts";
import type { RgbImage } from "../media/media.ts";
import { DEFAULT_COMPRESSION, viewTokens } from "../model/visual.ts";
import { PATCH } from "../model/vit.ts";
import type { NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import {
  type ExpectedTensors,
  expectedLanguageTensors,
  expectedVisionTensors,
  isConnector,
} from "../weights/expected.ts";
import { configOf } from "./config.ts";
import { visionCost } from "./cost.ts";
import { withRandomModel } from "./loaded.ts";
import { type OnStep, type ProcessReport, processLine, Watch } from "./measure.ts";
import { COMPRESSOR_WIDTH, ORYX_VIT } from "./shapes.ts";
import type { WeightType } from "./weights.ts";

export interface VisionBenchOptions extends NodeRuntimeOptions {
  weights: WeightType;
  /** Frames that are encoded in one run. */
  batches: readonly number[];
  /** Side of a frame, pixels. */
  side: number;
  onStep?: OnStep | undefined;
}

export interface BatchFigures {
  frames: number;
  frameMs: number;
  framesPerSecond: number;
  gops: number;
}

export interface VisionReport {
  bench: "vision";
  shape: "oryxvit";
  weights: WeightType;
  device: string;
  /** Pixels. */
  side: number;
  patches: number;
  visualTokens: number;
  loadMs: number;
  batches: readonly BatchFigures[];
  process: ProcessReport;
}

/** The language model that the connector leads to; it is not loaded, and its width hardly matters. */
const LANGUAGE_MODEL = "qwen2.5-7b";
/** Runs of each batch; the fastest counts. */
const RUNS = 2;

/** Speed of OryxViT, compressor and projector on square frames of a video. @throws OryxError `bad_option`, `disk`, `runtime_*` */
export function benchVision(options: VisionBenchOptions): Promise<VisionReport> {
  const { weights, batches, side, onStep = () => {} } = options;
  return withRandomModel(expectedTower(), options, loadTower, async ({ model, runtime, loadMs }) => {
    const patches = (side / PATCH) ** 2;
    const { operations } = visionCost(ORYX_VIT, patches);
    const watch = new Watch();
    const figures: BatchFigures[] = [];
    for (const frames of batches) {
      const frameMs = await fastest(model, frames, side, watch, onStep);
      figures.push({ frames, frameMs, framesPerSecond: 1000 / frameMs, gops: operations / frameMs / 1e6 });
    }
    const visualTokens = viewTokens({ width: side, height: side }, DEFAULT_COMPRESSION.video);
    const { device } = runtime;
    const shape = { shape: "oryxvit", weights, device, side, patches, visualTokens } as const;
    return { bench: "vision", ...shape, loadMs, batches: figures, process: watch.report() };
  });
}

/** OryxViT, and the connector behind it. */
export function expectedTower(): ExpectedTensors {
  const all = expectedLanguageTensors(configOf(LANGUAGE_MODEL), COMPRESSOR_WIDTH);
  const connector = [...all].filter(([name]) => isConnector(name));
  return new Map([...expectedVisionTensors(ORYX_VIT), ...connector]);
}

/** The model from weights of {@link expectedTower}. */
export function loadTower(
  runtime: Runtime,
  weights: ReadonlyMap<string, StoredTensor>,
): Promise<VisionEncoder> {
  const { language: config } = configOf(LANGUAGE_MODEL);
  return loadEncoder(runtime, { config, visionShape: ORYX_VIT, language: weights, vision: weights });
}

/** Milliseconds a frame, in the fastest of a few runs. */
async function fastest(
  encoder: VisionEncoder,
  frames: number,
  side: number,
  watch: Watch,
  onStep: OnStep,
): Promise<number> {
  const pictures = Array.from({ length: frames }, (_, i) => squareFrame(side, i));
  let ms = Number.POSITIVE_INFINITY;
  for (let run = 0; run < RUNS; run++) {
    onStep(`${frames === 1 ? "1 frame" : `${frames} frames`} at a time`);
    ms = Math.min(ms, await watch.timed(() => encoder.rows(pictures, DEFAULT_COMPRESSION.video)));
  }
  return ms / frames;
}

/** A frame to encode; every `shade` gives another. */
export function squareFrame(side: number, shade: number): RgbImage {
  const data = Uint8Array.from({ length: 3 * side * side }, (_, i) => (i + 40 * shade) % 256);
  return { width: side, height: side, data };
}

/** The report as a table. */
export function visionTable(report: VisionReport): string {
  const { shape, weights, device, side, patches, visualTokens, loadMs, batches } = report;
  const table = textTable(
    batches.map((b) => [
      b.frames === 1 ? "1 frame at a time" : `${b.frames} frames at a time`,
      `${b.framesPerSecond.toFixed(2)} frames/s`,
      `${b.frameMs.toFixed(0)} ms`,
      `${b.gops.toFixed(0)} GOPS`,
    ]),
  );
  return [
    `${shape}, random ${weights} weights, ${device}; loaded in ${(loadMs / 1000).toFixed(1)} s`,
    `frames of ${side}x${side}: ${patches} patches, ${visualTokens} visual tokens`,
    table,
    processLine(report.process),
  ].join("\n");
}
