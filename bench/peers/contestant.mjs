import { fork } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";

/** A process that does pieces of work when told to, and times them. */
export class Contestant {
  #process;
  #failed;

  /** @param {string} file the module that it runs, beside this one */
  constructor(file) {
    this.#process = fork(fileURLToPath(new URL(file, import.meta.url)));
    this.#failed = new Promise((_, reject) => {
      this.#process.once("exit", (code) => reject(new Error(`${file} ended with ${code}`)));
    });
    this.#failed.catch(() => {});
  }

  /** @returns {Promise<{ ms: number, others: number, peakRss: number }>} `others`: cores that other processes used */
  async do(work, options = {}) {
    this.#process.send({ work, options });
    const reply = new Promise((resolve) => this.#process.once("message", resolve));
    const { error, ...result } = await Promise.race([reply, this.#failed]);
    if (error) throw new Error(error);
    return result;
  }

  async end() {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.disconnect();
    await ended;
  }
}

/**
 * The other side: answers what it is told with the works of these names.
 * @param {Record<string, (options: object) => Promise<number | void>>} works each gives the milliseconds that count
 */
export function contest(works) {
  process.on("message", async ({ work, options }) => {
    const [start, own, all] = [performance.now(), process.cpuUsage(), busyMs()];
    try {
      const ms = await works[work](options);
      const { user, system } = process.cpuUsage(own);
      const others = (busyMs() - all - (user + system) / 1000) / (performance.now() - start);
      process.send({ ms, others, peakRss: process.resourceUsage().maxRSS * 1024 });
    } catch (error) {
      process.send({ error: error.stack });
    }
  });
  process.on("disconnect", () => process.exit());
}

/** Time that the machine's processors have spent on anything. */
function busyMs() {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}

/** Milliseconds that a piece of work takes. */
export async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** The same tokens for everyone, from a place on. */
export function tokens(from, count, vocabulary) {
  return Array.from({ length: count }, (_, i) => 1 + (((from + i) * 7919) % (vocabulary - 2)));
}
