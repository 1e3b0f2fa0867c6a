import { Contestant } from "./contestant.mjs";

/** Cores that other processes may use in a turn that counts. */
const OTHERS = 0.1;
/** How long the same work is tried again before disturbed turns count as well. */
const PATIENCE_MS = 60_000;

/**
 * Two contestants at the same work, in turns. A turn in which others used the machine is taken again, a few times.
 */
export class Duel {
  #sides;
  #peakRss = [0, 0];

  /** @param {string[]} files modules of ours and of the peer */
  constructor(files) {
    this.#sides = files.map((file) => new Contestant(file));
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
   * @returns {Promise<{ ms: number[], best: number[], clean: boolean }>} each one's median and fastest turn, of the
   *   undisturbed ones if there are any
   */
  async measure(work, options, rounds) {
    const turns = [[], []];
    const undisturbed = (i) => turns[i].filter((turn) => turn.others <= OTHERS);
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
    const times = counted.map((all) => all.map((turn) => turn.ms));
    return { ms: times.map(median), best: times.map((all) => Math.min(...all)), clean: !isWanting() };
  }
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}
