import { Contestant } from "./contestant.mjs";

/** Processor time over wall time and threads, below which somebody else was using the machine. */
const UNDISTURBED = 0.88;
/** How long the same work is tried again before disturbed turns count as well. */
const PATIENCE_MS = 120_000;

/**
 * Two contestants at the same work, in turns. A turn in which others used the machine is taken again, a few times.
 */
export class Duel {
  #sides;
  #threads;
  #peakRss = [0, 0];

  /** @param {string[]} files modules of ours and of the peer @param {number} threads of each */
  constructor(files, threads) {
    this.#sides = files.map((file) => new Contestant(file));
    this.#threads = threads;
  }

  async load(work, options) {
    for (const side of this.#sides) await side.do(work, options);
  }

  async end() {
    await Promise.all(this.#sides.map((side) => side.end()));
  }

  /** Most memory that each process had so far, bytes. */
  get peakRss() {
    return this.#peakRss;
  }

  /**
   * Both do a piece of work until each has done it undisturbed `rounds` times, or patience ends.
   * @returns {Promise<{ ms: number[], clean: boolean }>} each one's median, over the undisturbed turns if there are any
   */
  async measure(work, options, rounds) {
    const turns = [[], []];
    const undisturbed = (i) => turns[i].filter((turn) => turn.cores >= UNDISTURBED * this.#threads);
    const isWanting = () => this.#sides.some((_, i) => undisturbed(i).length < rounds);
    const end = performance.now() + PATIENCE_MS;
    for (let turn = 0; isWanting() && (turn < rounds || performance.now() < end); turn++) {
      for (const [i, side] of this.#sides.entries()) {
        const result = await side.do(work, options);
        turns[i].push(result);
        this.#peakRss[i] = Math.max(this.#peakRss[i], result.peakRss);
      }
    }
    const counted = turns.map((all, i) => (undisturbed(i).length > 0 ? undisturbed(i) : all));
    return { ms: counted.map((all) => median(all.flatMap((turn) => turn.ms))), clean: !isWanting() };
  }
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}
