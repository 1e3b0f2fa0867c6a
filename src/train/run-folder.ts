import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { OryxError } from "../core/errors.ts";
import { writeCurves } from "./curves.ts";
import { onDisk } from "./disk.ts";
import { type Metric, MetricsLog, readMetrics } from "./metrics.ts";
import { newestSnapshot, type Snapshot, type SnapshotFacts, saveSnapshot } from "./snapshot.ts";
import type { Trainer } from "./step.ts";

/** Where a run stands, but for the length of its metrics. */
export type RunState = Omit<SnapshotFacts, "metricsBytes">;

/**
 * The folder of a run: `snapshots/`, `metrics.jsonl` and `loss.svg`. Metrics and snapshots are kept in step: what is
 * behind the snapshot from which a run goes on is cut off.
 */
export class RunFolder {
  readonly dir: string;
  /** What the run goes on from; undefined at its beginning. */
  readonly resumed: Snapshot | undefined;
  readonly #metrics: MetricsLog;
  readonly #keep: number;
  #savedStep: number;

  private constructor(dir: string, resumed: Snapshot | undefined, metrics: MetricsLog, keep: number) {
    this.dir = dir;
    this.resumed = resumed;
    this.#metrics = metrics;
    this.#keep = keep;
    this.#savedStep = resumed?.facts.step ?? 0;
  }

  /**
   * Opens or makes the folder.
   * @param keep snapshots that are kept @param onDamaged is told of each snapshot that is not as it was written
   * @throws OryxError `disk`, `snapshot_damaged` when every snapshot is damaged
   */
  static async open(
    dir: string,
    keep: number,
    onDamaged: (problem: OryxError) => void = () => {},
  ): Promise<RunFolder> {
    await onDisk(`make ${dir}`, () => mkdir(dir, { recursive: true }));
    const resumed = await newestSnapshot(join(dir, SNAPSHOTS), onDamaged);
    const metrics = await MetricsLog.open(join(dir, METRICS), resumed?.facts.metricsBytes ?? 0);
    return new RunFolder(dir, resumed, metrics, keep);
  }

  note(metric: Metric): Promise<void> {
    return this.#metrics.append(metric);
  }

  /** Writes a snapshot and draws the curves, unless that was just done. @returns whether it was written now */
  async save(state: RunState, trainer: Trainer): Promise<boolean> {
    if (this.#savedStep === state.step) return false;
    const facts = { ...state, metricsBytes: await this.#metrics.sync() };
    const { trained, frozen } = trainer.parameters;
    const { first, second } = trainer.optimiser;
    const arrays = {
      trained: trained.values,
      frozen: frozen.values,
      first: first.values,
      second: second.values,
    };
    await saveSnapshot(join(this.dir, SNAPSHOTS), facts, arrays, this.#keep);
    this.#savedStep = state.step;
    await writeCurves(join(this.dir, "loss.svg"), await readMetrics(join(this.dir, METRICS)));
    return true;
  }

  close(): Promise<void> {
    return this.#metrics.close();
  }
}

const SNAPSHOTS = "snapshots";
const METRICS = "metrics.jsonl";

/** Puts parameters and optimiser where a snapshot has them. @throws OryxError `snapshot_damaged` */
export async function restore(snapshot: Snapshot, trainer: Trainer): Promise<void> {
  const { trained, frozen } = trainer.parameters;
  const { optimiser } = trainer;
  await snapshot.read("trained", trained.values);
  await snapshot.read("frozen", frozen.values);
  await snapshot.read("first", optimiser.first.values);
  await snapshot.read("second", optimiser.second.values);
  optimiser.step = snapshot.facts.updates;
}
