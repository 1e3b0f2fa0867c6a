import { join } from "node:path";
import type { OryxError } from "../core/errors.ts";
import { makeFolder, onDisk } from "../files/disk.ts";
import { writeCurves } from "./curves.ts";
import { type Metric, MetricsLog, readMetrics } from "./metrics.ts";
import type { Parameters } from "./parameters.ts";
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
  readonly #keep: number;
  /** Opened once there is something to note: until then, what an earlier run wrote stays as it is. */
  #metrics: Promise<MetricsLog> | undefined;
  #savedStep: number;

  private constructor(dir: string, resumed: Snapshot | undefined, keep: number) {
    this.dir = dir;
    this.resumed = resumed;
    this.#keep = keep;
    this.#savedStep = resumed?.facts.step ?? 0;
  }

  /**
   * Opens the folder, which need not be there yet. Nothing in it is changed by that.
   * @param keep snapshots that are kept @param onDamaged is told of each snapshot that is not as it was written
   * @throws OryxError `disk`, `snapshot_damaged` when every snapshot is damaged
   */
  static async open(
    dir: string,
    keep: number,
    onDamaged: (problem: OryxError) => void = () => {},
  ): Promise<RunFolder> {
    const snapshots = join(dir, SNAPSHOTS);
    const resumed = await onDisk(`read ${snapshots}`, () => newestSnapshot(snapshots, onDamaged));
    return new RunFolder(dir, resumed, keep);
  }

  async note(metric: Metric): Promise<void> {
    await (await this.#openMetrics()).append(metric);
  }

  /** Writes a snapshot and draws the curves, unless that was just done. @returns whether it was written now */
  async save(state: RunState, trainer: Trainer): Promise<boolean> {
    if (this.#savedStep === state.step) return false;
    const facts = { ...state, metricsBytes: await (await this.#openMetrics()).sync() };
    const { trained, frozen } = trainer.parameters;
    const { first, second } = trainer.optimiser;
    const arrays = {
      trained: trained.values,
      frozen: frozen.values,
      first: first.values,
      second: second.values,
    };
    await saveSnapshot(join(this.dir, SNAPSHOTS), facts, arrays, { keep: this.#keep, fixed: ["frozen"] });
    this.#savedStep = state.step;
    await writeCurves(join(this.dir, "loss.svg"), await readMetrics(join(this.dir, METRICS)));
    return true;
  }

  async close(): Promise<void> {
    await (await this.#metrics?.catch(() => undefined))?.close();
  }

  #openMetrics(): Promise<MetricsLog> {
    this.#metrics ??= onDisk(`make ${this.dir}`, () => makeFolder(this.dir)).then(() =>
      MetricsLog.open(join(this.dir, METRICS), this.resumed?.facts.metricsBytes ?? 0),
    );
    return this.#metrics;
  }
}

const SNAPSHOTS = "snapshots";
const METRICS = "metrics.jsonl";

/** Puts parameters and optimiser where a snapshot has them. @throws OryxError `snapshot_damaged` */
export async function restore(snapshot: Snapshot, { parameters, optimiser }: Trainer): Promise<void> {
  await restoreParameters(snapshot, parameters);
  await snapshot.read("first", optimiser.first.values);
  await snapshot.read("second", optimiser.second.values);
  optimiser.step = snapshot.facts.updates;
}

/** @throws OryxError `snapshot_damaged` */
export async function restoreParameters(snapshot: Snapshot, { trained, frozen }: Parameters): Promise<void> {
  await snapshot.read("trained", trained.values);
  await snapshot.read("frozen", frozen.values);
}
