import { Random } from "../core/random.ts";

/**
 * The order in which examples are seen, computed place by place: nothing is stored and nothing is drawn in sequence,
 * so that resuming at any step costs nothing.
 */

/** Rounds of the cipher below; from four on it passes for random (Luby and Rackoff), and small halves want more. */
const ROUNDS = 8;
/** The longest order: its cipher's domain of 4^26 numbers is the last that a double counts exactly. */
const LONGEST = 2 ** 52;

/**
 * A seeded permutation of 0 … length - 1: place -> number of the example that is seen there.
 *
 * A Feistel network enciphers the numbers below the next power of four; a number that lands beyond `length` is
 * enciphered again until it does not, which keeps the map one to one (cycle walking; fewer than four rounds expected).
 *
 * @param seed a whole number from 0
 * @param epoch a whole number from 0; each has an order of its own
 * @param length 0 to 2^52
 */
export function order(seed: number, epoch: number, length: number): (place: number) => number {
  if (!Number.isInteger(length) || length < 0 || length > LONGEST) throw new RangeError(`length ${length}`);
  const random = randomAt(seed, epoch);
  const keys = Array.from({ length: ROUNDS }, () => random.bits());
  let bits = 1;
  while (4 ** bits < length) bits++;
  return (place) => {
    if (!Number.isInteger(place) || place < 0 || place >= length) throw new RangeError(`place ${place}`);
    let number = place;
    do number = enciphered(number, keys, 2 ** bits);
    while (number >= length);
    return number;
  };
}

/** One to one on the numbers below half * half. */
function enciphered(number: number, keys: readonly number[], half: number): number {
  let left = Math.floor(number / half);
  let right = number % half;
  for (const key of keys) [left, right] = [right, (left ^ mixed(right ^ key)) & (half - 1)];
  return left * half + right;
}

/** Every bit of 32 depends on every other: the finaliser of MurmurHash3 (Appleby, public domain). */
function mixed(bits: number): number {
  let h = bits;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Random numbers of one place in a data set: the same for the same seed and number, whatever was drawn before. */
export function randomAt(seed: number, number: number): Random {
  // A Random's seed has 53 bits: 32 of the number, and 21 of what the seed and the number's rest become.
  const rest = Math.floor(number / 2 ** 32);
  const high = (mixed(new Random(seed).bits()) ^ mixed(rest)) >>> 11;
  return new Random(high * 2 ** 32 + (number >>> 0));
}
