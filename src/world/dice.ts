import { Random } from "../core/random.ts";

/** Chance as the world needs it: every choice follows from the seed. */
export class Dice {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  /** A number in [from, to). */
  between(from: number, to: number): number {
    return from + (to - from) * this.#random.next();
  }

  /** A number in [from, to), whose logarithm is even. */
  scaled(from: number, to: number): number {
    return from * (to / from) ** this.#random.next();
  }

  /** A whole number from `from` to `to`, both included. */
  whole(from: number, to: number): number {
    return from + Math.floor((to - from + 1) * this.#random.next());
  }

  chance(probability: number): boolean {
    return this.#random.next() < probability;
  }

  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[this.whole(0, list.length - 1)] as T;
  }

  /** A new list in another order. */
  shuffled<T>(list: readonly T[]): T[] {
    const shuffled = [...list];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.whole(0, i);
      [shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
    }
    return shuffled;
  }

  /** Different ones of a list, in any order; all of them where it has too few. */
  some<T>(list: readonly T[], count: number): T[] {
    return this.shuffled(list).slice(0, count);
  }

  /** One of several, by their weights; some weight must be above 0. */
  weighted<T>(choices: readonly (readonly [T, number])[]): T {
    const total = choices.reduce((sum, [, weight]) => sum + weight, 0);
    let left = this.between(0, total);
    for (const [choice, weight] of choices) {
      left -= weight;
      if (left < 0) return choice;
    }
    return choices.findLast(([, weight]) => weight > 0)?.[0] as T;
  }

  /** The first draw that is accepted. The caller sees to it that one soon is. */
  until<T>(draw: () => T | undefined, what: string): T {
    for (let attempt = 0; attempt < 2000; attempt++) {
      const drawn = draw();
      if (drawn !== undefined) return drawn;
    }
    throw new Error(`the world cannot draw ${what}`);
  }

  /** A seed for another stream. */
  seed(): number {
    return this.#random.bits();
  }
}
