import { Turns } from "../core/turns.ts";
import { type ByteCache, bytesOf, type CacheKey, cacheKey } from "./cache.ts";
import type { Speed } from "./speed.ts";

/** Changes with every change of what is measured, or of what it means. */
const VERSION = 2;

/** More seconds for a token or a patch than any machine takes. */
const SLOWEST_S = 1e4;

const isSound = (numbers: Iterable<number>): boolean => [...numbers].every((n) => n >= 0 && n < SLOWEST_S);

/** Keeps a model's measured speed: in this process, and in a cache for the next ones. */
export class SpeedCache {
  readonly #cache: ByteCache | undefined;
  readonly #computedBy: string;
  readonly #turns = new Turns();
  #known: Speed | undefined;

  /** @param computedBy tells models and machines apart that are not equally fast */
  constructor(cache: ByteCache | undefined, computedBy: string) {
    this.#cache = cache;
    this.#computedBy = computedBy;
  }

  /** Undefined when nothing sound is kept. @throws OryxError `aborted` */
  async read(signal?: AbortSignal): Promise<Speed | undefined> {
    if (this.#known !== undefined) return this.#known;
    const numbers = new Float64Array(5);
    if (!(await this.#cache?.read(await this.#key(), [bytesOf(numbers)], signal))) return undefined;
    if (!isSound(numbers)) return undefined;
    const [perPatch = 0, perPatchPair = 0, perToken = 0, perTokenPair = 0, perPixel = 0] = numbers;
    const encode = { perPatch, perPair: perPatchPair };
    this.#known = { encode, prefill: { perToken, perPair: perTokenPair }, perPixel };
    return this.#known;
  }

  /** @throws OryxError `aborted` */
  async write(speed: Speed, signal?: AbortSignal): Promise<void> {
    const { encode, prefill, perPixel } = speed;
    const numbers = [encode.perPatch, encode.perPair, prefill.perToken, prefill.perPair, perPixel];
    if (!isSound(numbers)) return;
    this.#known = speed;
    await this.#cache?.write(await this.#key(), [bytesOf(Float64Array.from(numbers))], signal);
  }

  /**
   * The speed that is kept, else the one that is measured now, which is then kept. However many ask at once, one measures.
   * @throws OryxError `aborted`, and as `measure`
   */
  readOrMeasure(measure: () => Promise<Speed>, signal?: AbortSignal): Promise<Speed> {
    return this.#turns.take(async () => {
      const known = await this.read(signal);
      if (known !== undefined) return known;
      const speed = await measure();
      await this.write(speed, signal);
      return speed;
    }, signal);
  }

  #key(): Promise<CacheKey> {
    return cacheKey("speed", VERSION, this.#computedBy);
  }
}
