import { Random } from "../core/random.ts";
import { textTable } from "../core/text-table.ts";
import type { Decoder } from "../engine/decoder.ts";
import type { KvSlot } from "../engine/kv.ts";
import { loadDecoder } from "../engine/load.ts";
import { Sampler } from "../engine/sampler.ts";
import type { NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import { expectedLanguageTensors } from "../weights/expected.ts";
import { configOf } from "./config.ts";
import { languageCost, type StoredAs, storedName } from "./cost.ts";
import { withRandomModel } from "./loaded.ts";
import { median, type OnStep, type ProcessReport, processLine, Watch } from "./measure.ts";
import { COMPRESSOR_WIDTH, type LanguageShape } from "./shapes.ts";

/** What is measured of a language model; how it is stored tells the bytes that a step reads. */
export interface LlmMeasures extends StoredAs {
  /** Lengths of prompts, in tokens. */
  prompts: readonly number[];
  /** Capacities of the cache that are compared, holding the same. */
  slots: readonly number[];
  /** Tokens in a cache of one capacity that are compared. */
  contexts: readonly number[];
  /** Decode steps of each setting. */
  steps: number;
  onStep?: OnStep | undefined;
}

export interface LlmBenchOptions extends NodeRuntimeOptions, LlmMeasures {
  shape: LanguageShape;
}

export interface PrefillFigures {
  tokens: number;
  /** From the prompt's tokens to the first token of the answer. */
  firstTokenMs: number;
  tokensPerSecond: number;
  /** Thousand million operations a second. */
  gops: number;
}

/** A cache that may hold `capacity` tokens and holds `filled`. */
export interface DecodeSetting {
  capacity: number;
  filled: number;
}

export interface DecodeFigures extends DecodeSetting {
  /** Median over the steps. */
  tokenMs: number;
  tokensPerSecond: number;
  gops: number;
  gbPerSecond: number;
  /** Speed over that of the first setting: median over the rounds, in each of which all settings took a step. */
  ratio: number;
}

export interface LlmFigures {
  prefill: readonly PrefillFigures[];
  /** Same filling, growing capacity: a copy of the cache in a step would show here. */
  slots: readonly DecodeFigures[];
  /** Same capacity, growing filling: what a step must read grows, and nothing else should. */
  contexts: readonly DecodeFigures[];
  process: ProcessReport;
}

export interface LlmReport extends LlmFigures, StoredAs {
  bench: "llm";
  shape: LanguageShape;
  device: string;
  loadMs: number;
}

/** Room behind what a cache holds. */
const MARGIN = 8;
const PREFILL_RUNS = 2;
const WARM_UP_STEPS = 2;

/** Speed of a language model of a published shape. @throws OryxError `bad_option`, `disk`, `runtime_*` */
export function benchLlm(options: LlmBenchOptions): Promise<LlmReport> {
  const { shape, weights, block } = options;
  const config = configOf(shape);
  return withRandomModel(
    expectedLanguageTensors(config, COMPRESSOR_WIDTH),
    options,
    (runtime, language) => loadDecoder(runtime, { config: config.language, language }),
    async ({ model, runtime, loadMs }) => {
      const figures = await measureLlm(model, options);
      return { bench: "llm", shape, weights, block, device: runtime.device, loadMs, ...figures };
    },
  );
}

/** Speed of a language model that is loaded. */
export async function measureLlm(decoder: Decoder, measures: LlmMeasures): Promise<LlmFigures> {
  const { prompts, slots, contexts } = measures;
  const bench = new LlmBench(decoder, measures);
  const prefill: PrefillFigures[] = [];
  for (const tokens of prompts) prefill.push(await bench.prefill(tokens));
  const held = Math.min(...slots) - MARGIN;
  const room = Math.max(...contexts) + MARGIN;
  return {
    prefill,
    slots: await bench.decode(slots.map((capacity) => ({ capacity, filled: held }))),
    contexts: await bench.decode(contexts.map((filled) => ({ capacity: room, filled }))),
    process: bench.process,
  };
}

/** Measures one loaded decoder. */
class LlmBench {
  readonly #decoder: Decoder;
  readonly #steps: number;
  readonly #stored: StoredAs;
  readonly #onStep: OnStep;
  readonly #watch = new Watch();

  constructor(decoder: Decoder, { steps, weights, block, onStep = () => {} }: LlmMeasures) {
    this.#decoder = decoder;
    this.#steps = steps;
    this.#stored = { weights, block };
    this.#onStep = onStep;
  }

  get process(): ProcessReport {
    return this.#watch.report();
  }

  async prefill(tokens: number): Promise<PrefillFigures> {
    const { config } = this.#decoder;
    const random = new Random(tokens);
    const ids = Array.from({ length: tokens }, () => Math.floor(random.next() * config.vocabSize));
    const times: number[] = [];
    await this.#decoder.withSlot(tokens, async (slot) => {
      const work = async () => new Sampler().next(await this.#decoder.prefill(slot, [{ ids }]));
      for (let run = 0; run < PREFILL_RUNS; run++) {
        this.#onStep(`prefill of ${tokens} tokens`);
        slot.truncate(0);
        times.push(await this.#watch.timed(work));
      }
    });
    const firstTokenMs = Math.min(...times);
    const { operations } = languageCost(config, tokens, 0);
    const [tokensPerSecond, gops] = [(1000 * tokens) / firstTokenMs, operations / firstTokenMs / 1e6];
    return { tokens, firstTokenMs, tokensPerSecond, gops };
  }

  /** Steps of all settings take turns, so that what else the machine does strikes them alike. */
  async decode(settings: readonly DecodeSetting[]): Promise<DecodeFigures[]> {
    const runs: { slot: KvSlot; filled: number; times: number[] }[] = [];
    for (const { capacity, filled } of settings) {
      const slot = this.#decoder.slot(capacity);
      await fill(slot, filled);
      runs.push({ slot, filled, times: [] });
    }
    for (let step = -WARM_UP_STEPS; step < this.#steps; step++) {
      this.#onStep(`decode, step ${Math.max(0, step + 1)} of ${this.#steps}`);
      for (const { slot, filled, times } of runs) {
        const work = async () => new Sampler().next(await this.#decoder.next(slot, 1));
        const ms = await this.#watch.timed(work);
        slot.truncate(filled);
        if (step >= 0) times.push(ms);
      }
    }
    for (const { slot } of runs) await slot.close();
    return runs.map(({ slot, filled, times }) => {
      const ratios = times.map((ms, round) => (runs[0]?.times[round] as number) / ms);
      return {
        ...this.#speed(filled, median(times)),
        capacity: slot.capacity,
        filled,
        ratio: median(ratios),
      };
    });
  }

  #speed(filled: number, tokenMs: number) {
    const { operations, bytes } = languageCost(this.#decoder.config, 1, filled, this.#stored);
    const [gops, gbPerSecond] = [operations / tokenMs / 1e6, bytes / tokenMs / 1e6];
    return { tokenMs, tokensPerSecond: 1000 / tokenMs, gops, gbPerSecond };
  }
}

/** Puts random keys and values into a cache, as a prefill of so many tokens would. */
async function fill(slot: KvSlot, tokens: number): Promise<void> {
  const random = new Random(tokens);
  const noise = Float32Array.from({ length: 4099 }, () => 2 * random.next() - 1);
  const room = slot.room(tokens);
  for (const rows of room) {
    for (let at = 0; at < rows.length; at += noise.length) rows.set(noise.subarray(0, rows.length - at), at);
  }
  await slot.append(room);
}

/** The report as a table. */
export function llmTable(report: LlmReport): string {
  const { shape, device, loadMs, prefill, slots, contexts } = report;
  const speed = (perSecond: number) => perSecond.toFixed(perSecond < 100 ? 1 : 0);
  const rows = (figures: readonly DecodeFigures[]) =>
    figures.map((f) => [
      `decode, ${f.filled} tokens in ${f.capacity} slots`,
      `${speed(f.tokensPerSecond)} tok/s`,
      `${f.tokenMs.toFixed(1)} ms`,
      `${f.gops.toFixed(0)} GOPS`,
      `${f.gbPerSecond.toFixed(1)} GB/s`,
    ]);
  const table = textTable([
    ...prefill.map((p) => [
      `prefill of ${p.tokens} tokens`,
      `${speed(p.tokensPerSecond)} tok/s`,
      `${p.firstTokenMs.toFixed(0)} ms`,
      `${p.gops.toFixed(0)} GOPS`,
    ]),
    ...rows(slots),
    ...rows(contexts),
  ]);
  return [
    `${shape}, random ${storedName(report)} weights, ${device}; loaded in ${(loadMs / 1000).toFixed(1)} s`,
    table,
    ...ratioLines(slots, "slots", (f) => f.capacity),
    ...ratioLines(contexts, "tokens cached", (f) => f.filled),
    processLine(report.process),
  ].join("\n");
}

/** Speed of each setting against the first. */
function ratioLines(
  figures: readonly DecodeFigures[],
  what: string,
  of: (f: DecodeFigures) => number,
): string[] {
  const [first, ...others] = figures;
  if (first === undefined) return [];
  return others.map(
    (f) => `decode with ${of(f)} ${what} runs at ${f.ratio.toFixed(2)} times the speed with ${of(first)}`,
  );
}
