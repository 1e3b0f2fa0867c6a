import { COMPRESSIONS, type Compression, visualTokens } from "../model/visual.ts";
import {
  checkVisualOptions,
  type ItemHeader,
  itemAt,
  type Settings,
  shapeAt,
  sizeSteps,
  type WantedItem,
  wantedItem,
} from "./plan-item.ts";
import { type DecidedItem, isLess, planReasons } from "./plan-reasons.ts";
import {
  ORDERS,
  type PlanRequest,
  type Sacrifice,
  type Shown,
  tooMuch,
  totalOf,
  type Usage,
  type VisualPlan,
} from "./plan-request.ts";
import {
  encodeSeconds,
  filmSeconds,
  imageSeconds,
  prefillSeconds,
  type Seconds,
  type Speed,
} from "./speed.ts";

/** How far everything has given way, for all items alike. */
interface Concession {
  /** Share of the frames below which the next concession is better. */
  leastFrames: number;
  k: Compression;
  sizeStep: number;
}

/**
 * Decides frames, compression and size of everything that a request shows, before anything is decoded. The paper's
 * rules hold, with what the request fixes (`fps`, `compress`, `frameArea`) in place of them, as long as they fit the
 * budget; else what is not fixed gives way in the order of {@link ORDERS}. All items share the budget alike.
 * @throws OryxError `bad_option`, `media_too_large`; `budget_exceeded`, `context_exceeded` when even the least is too much
 */
export function planVisuals(headers: readonly ItemHeader[], request: PlanRequest): VisualPlan {
  const { options, task, limits, budget } = request;
  checkVisualOptions(options);
  const wanted = headers.map((header) => wantedItem(header, options, limits, task));
  const search = new Search(wanted, request);
  const found = search.within(budget.tokens) ?? search.within(budget.mostTokens);
  if (found === undefined) throw tooMuch(search.least(), request);
  return found;
}

/** Looks for the settings that lose least. */
class Search {
  readonly #wanted: readonly WantedItem[];
  readonly #request: PlanRequest;
  readonly #concessions: readonly Concession[];
  /** The greatest number of frames of an item that may have fewer; each has its share of its own. */
  readonly #frames: number;
  /** Tokens of the text when all frames are taken, which has the longest number in it. */
  readonly #text: number;
  readonly #paper: Usage;

  constructor(wanted: readonly WantedItem[], request: PlanRequest) {
    this.#wanted = wanted;
    this.#request = request;
    const steps = Math.max(0, ...wanted.map(sizeSteps));
    this.#concessions = [...concessionsOf(ORDERS[request.task ?? "question"], steps)];
    this.#frames = Math.max(1, ...wanted.filter(mayHaveFewer).map(({ pictures }) => pictures));
    const first = this.#concessions[0] as Concession;
    this.#text = request.textTokens(this.#shown(first, this.#frames));
    this.#paper = this.#usage(first, this.#frames);
  }

  /** The best settings that take at most so many tokens, and the seconds of the budget. */
  within(tokens: number): VisualPlan | undefined {
    for (const concession of this.#concessions) {
      const frames = this.#mostFrames(concession, tokens);
      if (frames === undefined) continue;
      const kept = this.#regained(concession, frames, tokens);
      const most = this.#mostFrames(kept, tokens) ?? frames;
      // The text was counted with the longest number of frames; another tokenizer may find a shorter one longer.
      for (let n = most; n >= 1; n--) {
        const plan = this.#plan(kept, n);
        if (plan.promptTokens <= tokens) return plan;
      }
    }
    return undefined;
  }

  /** The least that anything could take. */
  least(): Usage {
    return this.#usage(this.#concessions.at(-1) as Concession, 1);
  }

  /** As many frames as fit at a concession; undefined when those are too few for it. */
  #mostFrames(concession: Concession, tokens: number): number | undefined {
    const fits = (frames: number) => this.#fits(this.#usage(concession, frames), tokens);
    let [low, high] = [Math.max(1, Math.ceil(concession.leastFrames * this.#frames)), this.#frames];
    if (!fits(low)) return undefined;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (fits(middle)) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** What gave way on the way to a concession but did not need to: k saves no time in the encoder, say. */
  #regained(concession: Concession, frames: number, tokens: number): Concession {
    const isEnough = (other: Concession) => this.#fits(this.#usage(other, frames), tokens);
    const k = COMPRESSIONS.find((k) => k === concession.k || isEnough({ ...concession, k })) as Compression;
    let { sizeStep } = concession;
    while (sizeStep > 0 && isEnough({ ...concession, k, sizeStep: sizeStep - 1 })) sizeStep--;
    return { ...concession, k, sizeStep };
  }

  #fits({ promptTokens, seconds }: Usage, tokens: number): boolean {
    return (
      promptTokens <= tokens && totalOf(seconds) <= (this.#request.budget.seconds ?? Number.POSITIVE_INFINITY)
    );
  }

  #usage(concession: Concession, frames: number): Usage {
    return usageOf(this.#wanted, this.#settings(concession, frames), this.#text, this.#request);
  }

  #settings({ k, sizeStep }: Concession, frames: number): Settings[] {
    return this.#wanted.map((wanted) => ({
      pictures: mayHaveFewer(wanted)
        ? Math.max(1, Math.floor((wanted.pictures * frames) / this.#frames))
        : wanted.pictures,
      k: wanted.options.compress ?? (Math.max(wanted.k, k) as Compression),
      sizeStep: Math.min(sizeStep, sizeSteps(wanted)),
    }));
  }

  #shown(concession: Concession, frames: number): Shown[] {
    const settings = this.#settings(concession, frames);
    return this.#wanted.map(({ modality }, i) => ({
      modality,
      pictures: (settings[i] as Settings).pictures,
    }));
  }

  /** The plan at chosen settings, whose text is counted as it will be. */
  #plan(concession: Concession, frames: number): VisualPlan {
    const wanted = this.#wanted;
    const settings = this.#settings(concession, frames);
    const text = this.#request.textTokens(this.#shown(concession, frames));
    const used = usageOf(wanted, settings, text, this.#request);
    const decided = wanted.map((item, i): DecidedItem => {
      const chosen = settings[i] as Settings;
      return { wanted: item, settings: chosen, planned: itemAt(item, chosen) };
    });
    return {
      items: decided.map(({ planned }) => planned),
      promptTokens: used.promptTokens,
      ...(used.seconds && { seconds: used.seconds }),
      isReduced: decided.some((item) => isLess(item.settings, item.wanted)),
      reasons: planReasons(decided, used, this.#paper, this.#request),
    };
  }
}

/** A rate that the request names is kept; the number of frames without one may be lowered. */
const mayHaveFewer = ({ header, options }: WantedItem): boolean =>
  header.kind === "video" && options.fps === undefined;

function* concessionsOf(order: readonly Sacrifice[], sizeSteps: number): Generator<Concession> {
  let concession: Concession = { leastFrames: 1, k: 1, sizeStep: 0 };
  yield concession;
  for (const sacrifice of order) {
    switch (sacrifice.of) {
      case "frames":
        concession = { ...concession, leastFrames: sacrifice.to };
        yield concession;
        break;
      case "k":
        for (const k of [2, 4] as const) {
          concession = { ...concession, k };
          yield concession;
        }
        break;
      case "size":
        while (concession.sizeStep < sizeSteps) {
          concession = { ...concession, sizeStep: concession.sizeStep + 1 };
          yield concession;
        }
        break;
    }
  }
}

function usageOf(
  wanted: readonly WantedItem[],
  settings: readonly Settings[],
  textTokens: number,
  { speed, cachedTokens }: PlanRequest,
): Usage {
  const seconds: Seconds = { decode: 0, encode: 0, prefill: 0 };
  let visual = 0;
  for (const [i, item] of wanted.entries()) {
    const { pictures, k, sizeStep } = settings[i] as Settings;
    const { modality, views } = shapeAt(item, k, sizeStep);
    visual += visualTokens(modality, views, k, pictures);
    if (speed === undefined) continue;
    seconds.decode += decodeSeconds(speed, item.header, pictures);
    seconds.encode += encodeSeconds(speed, views, pictures);
  }
  const promptTokens = textTokens + visual;
  if (speed === undefined) return { visualTokens: visual, promptTokens };
  seconds.prefill = prefillSeconds(speed, promptTokens, cachedTokens);
  return { visualTokens: visual, promptTokens, seconds };
}

function decodeSeconds(speed: Speed, header: ItemHeader, pictures: number): number {
  const isFilm = header.kind === "video" && header.timesS === undefined;
  return isFilm ? filmSeconds(speed, header, pictures) : imageSeconds(speed, header.size, pictures);
}
