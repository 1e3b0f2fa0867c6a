import { monitorEventLoopDelay } from "node:perf_hooks";
import { gigabytes } from "../core/figures.ts";

/** Tells a person what is being measured; one line at a time. */
export type OnStep = (step: string) => void;

/** What a benchmark did to the process it ran in. */
export interface ProcessReport {
  /** Longest time for which the event loop did not turn, in milliseconds. */
  longestBlockMs: number;
  /** Most memory that the process ever had, in bytes. */
  peakRssBytes: number;
  /** Processor time over wall time while it measured: less than its threads when others used the machine. */
  coresUsed: number;
}

const RESOLUTION_MS = 1;

/** Times pieces of work, and watches the event loop while they run. */
export class Watch {
  #longestBlockMs = 0;
  #wallMs = 0;
  #cpuMs = 0;

  /** Milliseconds that a piece of work takes. */
  async timed(work: () => Promise<unknown>): Promise<number> {
    const monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    monitor.enable();
    const [start, cpuStart] = [performance.now(), process.cpuUsage()];
    try {
      await work();
      const ms = performance.now() - start;
      const { user, system } = process.cpuUsage(cpuStart);
      this.#wallMs += ms;
      this.#cpuMs += (user + system) / 1000;
      return ms;
    } finally {
      monitor.disable();
      this.#longestBlockMs = Math.max(this.#longestBlockMs, monitor.max / 1e6 - RESOLUTION_MS);
    }
  }

  report(): ProcessReport {
    return {
      longestBlockMs: this.#longestBlockMs,
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
      coresUsed: this.#wallMs === 0 ? 0 : this.#cpuMs / this.#wallMs,
    };
  }
}

/** The middle value; of an even number of them, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (i: number) => sorted[i] as number;
  return Number.isInteger(middle) ? (at(middle - 1) + at(middle)) / 2 : at(Math.floor(middle));
}

/** The closing line of every benchmark. */
export function processLine({ longestBlockMs, peakRssBytes, coresUsed }: ProcessReport): string {
  const block = `event loop blocked for ${longestBlockMs.toFixed(0)} ms at most`;
  return `${block}; peak memory ${gigabytes(peakRssBytes)}; ${coresUsed.toFixed(1)} cores used`;
}
