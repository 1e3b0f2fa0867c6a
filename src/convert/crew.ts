import { Worker } from "node:worker_threads";
import { OryxError, type PlainError, throwIfAborted } from "../core/errors.ts";
import { type Disk, fileSystem } from "./disk.ts";
import { type Task, type TaskResult, Workbench } from "./work.ts";

/** How tasks are to be done. */
export interface CrewOptions {
  /** The folder in the making. */
  dir: string;
  threads: number;
  /** A disk other than the real one cannot be handed to threads, so all is done in this one. */
  disk: Disk;
  signal: AbortSignal | undefined;
  onProgress: (bytes: number, wasThere: boolean) => void;
  /** Is called with the results of a unit once they are on the disk. */
  onDone: (results: TaskResult[]) => Promise<void>;
}

/** What a thread says: bytes gone through, a unit's end, or what went wrong. */
export type Report =
  | { kind: "progress"; bytes: number; wasThere: boolean }
  | { kind: "done"; results: TaskResult[] }
  | ({ kind: "failed" } & PlainError);

/** The thread's program; absent when running from TypeScript sources, which a thread of Node 20 cannot load. */
const THREAD = import.meta.url.endsWith(".js") ? new URL("./thread.js", import.meta.url) : undefined;

/** Does all units: each is taken by whichever thread is free. The first failure stops the others and is thrown. */
export async function runUnits(units: readonly Task[][], options: CrewOptions): Promise<void> {
  const threads = Math.min(options.threads, units.length);
  if (THREAD === undefined || threads <= 1 || options.disk !== fileSystem) return runHere(units, options);
  const queue = units.values();
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const failures: unknown[] = [];
  const hand = async () => {
    const worker = new Worker(THREAD, { workerData: options.dir });
    try {
      for (const tasks of queue) {
        throwIfAborted(signal);
        await options.onDone(await runThere(worker, tasks, options.onProgress, signal));
      }
    } catch (error) {
      failures.push(error);
      stop.abort();
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: threads }, hand));
  throwIfAborted(options.signal);
  if (failures.length > 0) throw failures[0];
}

async function runHere(units: readonly Task[][], options: CrewOptions): Promise<void> {
  const bench = new Workbench(options.dir, options.disk, options.signal);
  try {
    for (const tasks of units) await options.onDone(await bench.run(tasks, options.onProgress));
  } finally {
    await bench.close();
  }
}

function runThere(
  worker: Worker,
  tasks: readonly Task[],
  onProgress: CrewOptions["onProgress"],
  signal: AbortSignal,
): Promise<TaskResult[]> {
  return new Promise((resolve, reject) => {
    const end = (action: () => void) => {
      worker.off("message", listen).off("error", fail).off("exit", gone);
      signal.removeEventListener("abort", leave);
      action();
    };
    const listen = (report: Report) => {
      if (report.kind === "progress") onProgress(report.bytes, report.wasThere);
      else if (report.kind === "done") end(() => resolve(report.results));
      else end(() => reject(revived(report)));
    };
    const fail = (error: unknown) => end(() => reject(error));
    const gone = () => fail(new Error("a thread of the conversion ended"));
    const leave = () => fail(new OryxError("aborted", "the conversion was stopped", "start it again"));
    worker.on("message", listen).on("error", fail).on("exit", gone);
    signal.addEventListener("abort", leave);
    worker.postMessage(tasks);
  });
}

function revived({ code, problem, remedy }: PlainError): Error {
  if (code !== undefined) return new OryxError(code, problem, remedy);
  // The thread's stack says where the bug is; a message is one line of it.
  return Object.assign(new Error(problem.split("\n", 1)[0]), { stack: problem });
}
