import { Worker } from "node:worker_threads";
import { type ErrorCode, OryxError, type PlainError } from "../core/errors.ts";
import { isSampleFault } from "./dataset.ts";
import type { Dataset, Example } from "./example.ts";

/** Makes examples, in this thread or in others. */
export interface Loader {
  /** Examples of the data set. */
  readonly length: number;
  /** An example by its number, or why it is skipped. Fails for what is not one sample's fault. */
  load(index: number): Promise<Outcome>;
  close(): Promise<void>;
}

export type Outcome = { example: Example } | { skipped: Skipped };

/** A sample that is broken or too long. */
export interface Skipped {
  /** Its number in the data set. */
  index: number;
  code: ErrorCode;
  /** One line that names the sample by its id, file and line, and says what is wrong. */
  problem: string;
}

/** An example or the reason why there is none; fails for any other error. */
export async function outcomeOf(dataset: Dataset, index: number): Promise<Outcome> {
  try {
    return { example: await dataset.example(index) };
  } catch (error) {
    if (!isSampleFault(error)) throw error;
    return { skipped: { index, code: error.code, problem: error.message } };
  }
}

/** Makes examples in this thread, one at a time, in the order in which they are asked for. */
export function hereLoader(dataset: Dataset): Loader {
  let last: Promise<unknown> = Promise.resolve();
  let closed = false;
  return {
    length: dataset.length,
    load(index) {
      const outcome = last.then(() => {
        if (closed) throw closedError();
        return outcomeOf(dataset, index);
      });
      last = outcome.catch(() => {});
      return outcome;
    },
    async close() {
      closed = true;
      await last;
      await dataset.close();
    },
  };
}

/** What a thread says: that it is ready, what became of an example, or that all is lost. */
export type Report =
  | { kind: "ready"; length: number }
  | { kind: "outcome"; index: number; outcome: Outcome }
  | ({ kind: "failed" } & PlainError);

/** What a thread is told: the number of an example to make, or to finish what it is at and end. */
export type Order = number | "end";

/**
 * Makes examples in threads.
 * @param closeWithinMs how long a thread may take to end before it is stopped. Stopping is a last resort: Node ends
 *   the whole process when a native decoder reports to a thread that is no more.
 * @throws OryxError `worker_failed`, and what opening the data set throws
 */
export async function threadLoader(
  url: URL,
  spec: unknown,
  workers: number,
  closeWithinMs: number,
): Promise<Loader> {
  const pool = new ThreadPool(closeWithinMs);
  try {
    await Promise.all(Array.from({ length: workers }, () => pool.start(url, spec)));
    return pool;
  } catch (error) {
    await pool.close();
    throw error;
  }
}

interface Job {
  index: number;
  resolve: (outcome: Outcome) => void;
  reject: (error: unknown) => void;
}

/** Examples that one thread works on at a time: the second is read and decoded while the first is resized. */
const JOBS_PER_THREAD = 2;

class ThreadPool implements Loader {
  length = 0;
  /** Threads, with the jobs that each has been given. */
  readonly #threads = new Map<Worker, Job[]>();
  readonly #queue: Job[] = [];
  readonly #closeWithinMs: number;
  /** Why no more examples come. */
  #end: unknown;

  constructor(closeWithinMs: number) {
    this.#closeWithinMs = closeWithinMs;
  }

  /** Starts a thread and waits until it has opened the data set. */
  start(url: URL, spec: unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      const thread = new Worker(url, { workerData: spec });
      this.#threads.set(thread, []);
      const fail = (error: unknown) => {
        reject(error);
        this.#fail(error);
      };
      thread.on("message", (report: Report) => {
        if (report.kind === "failed") return fail(revived(report));
        if (report.kind === "outcome") return this.#done(thread, report);
        this.length = report.length;
        thread.unref(); // an idle thread does not keep the process alive
        return resolve();
      });
      thread.on("error", (cause) => fail(lost(String(cause), cause)));
      thread.on("messageerror", (cause) => fail(lost(String(cause), cause)));
      thread.on("exit", (code) => {
        fail(lost(`it exited with code ${code}`));
        this.#threads.delete(thread);
      });
    });
  }

  load(index: number): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end);
      this.#queue.push({ index, resolve, reject });
      this.#deal();
    });
  }

  /** Gives waiting jobs, the first first, to whichever threads have the least to do. */
  #deal(): void {
    for (let given = 0; given < JOBS_PER_THREAD; given++) {
      for (const [thread, jobs] of this.#threads) {
        if (jobs.length > given) continue;
        const job = this.#queue.shift();
        if (job === undefined) return;
        jobs.push(job);
        thread.ref();
        thread.postMessage(job.index satisfies Order);
      }
    }
  }

  #done(thread: Worker, { index, outcome }: Report & { kind: "outcome" }): void {
    const jobs = this.#threads.get(thread);
    const at = jobs?.findIndex((job) => job.index === index) ?? -1;
    const [job] = at < 0 ? [] : (jobs?.splice(at, 1) ?? []);
    if (jobs?.length === 0) thread.unref();
    job?.resolve(outcome);
    this.#deal();
  }

  /** The first failure ends all: threads are alike, and what stopped one awaits the others. */
  #fail(error: unknown): void {
    this.#end ??= error;
    const jobs = [...this.#queue.splice(0), ...[...this.#threads.values()].flatMap((all) => all.splice(0))];
    for (const job of jobs) job.reject(this.#end);
    for (const thread of this.#threads.keys()) thread.unref();
  }

  async close(): Promise<void> {
    this.#fail(closedError());
    await Promise.all([...this.#threads.keys()].map((thread) => ended(thread, this.#closeWithinMs)));
  }
}

/** Asks a thread to end, and stops one that does not. */
function ended(thread: Worker, withinMs: number): Promise<void> {
  return new Promise((resolve) => {
    const late = setTimeout(() => void thread.terminate(), withinMs);
    thread.once("exit", () => {
      clearTimeout(late);
      resolve();
    });
    thread.ref();
    thread.postMessage("end" satisfies Order);
  });
}

function revived({ code, problem, remedy }: PlainError): OryxError {
  return code === undefined ? lost(problem) : new OryxError(code, problem, remedy);
}

function lost(problem: string, cause?: unknown): OryxError {
  return new OryxError(
    "worker_failed",
    `a thread that prepares samples is lost: ${problem}`,
    "use fewer threads or smaller batches if memory ran out; else report this",
    { cause },
  );
}

function closedError(): OryxError {
  return new OryxError("closed", "the data set was closed", "open it again");
}
