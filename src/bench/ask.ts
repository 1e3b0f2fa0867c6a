import type { Size } from "../core/size.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { textTable } from "../core/text-table.ts";
import { Engine } from "../engine/engine.ts";
import { KvCache } from "../engine/kv.ts";
import { type LoadedModel, loadModel } from "../engine/load.ts";
import type { OpenMedia } from "../engine/media.ts";
import type { EngineParts } from "../engine/parts.ts";
import type { Answer, ItemPlan, Progress, Timings } from "../engine/request.ts";
import type { RgbImage } from "../media/media.ts";
import type { OryxConfig } from "../model/config.ts";
import { openMedia } from "../node/media.ts";
import type { NodeRuntimeOptions } from "../runtime/node/runtime.ts";
import type { Runtime } from "../runtime/session.ts";
import { expectedLanguageTensors, expectedVisionTensors } from "../weights/expected.ts";
import { configOf } from "./config.ts";
import { type StoredAs, storedName } from "./cost.ts";
import { withRandomModel } from "./loaded.ts";
import { type OnStep, type ProcessReport, processLine, Watch } from "./measure.ts";
import { COMPRESSOR_WIDTH, type LanguageShape, ORYX_VIT } from "./shapes.ts";

export interface AskBenchOptions extends NodeRuntimeOptions, StoredAs {
  shape: LanguageShape;
  /** Images and videos to ask about; none: a picture of `size`, made here. */
  media: readonly string[];
  size: Size;
  /** Tokens of the answer. */
  tokens: number;
  signal?: AbortSignal | undefined;
  onStep?: OnStep | undefined;
}

export interface AskReport extends StoredAs {
  bench: "ask";
  shape: LanguageShape;
  device: string;
  loadMs: number;
  items: readonly ItemPlan[];
  promptTokens: number;
  /** Of the first request, which also warms up, and of one more. */
  requests: readonly Timings[];
  process: ProcessReport;
}

const RUNS = 2;
const CONTEXT = 32_768;
const QUESTION = "What is happening here, and how do you know? Describe it in one paragraph.";

/**
 * A whole request to a model of a published shape with random weights: from the file to the answer.
 * @throws OryxError `bad_option`, `disk`, `runtime_*`, `media_*`, `aborted`
 */
export function benchAsk(options: AskBenchOptions): Promise<AskReport> {
  const { shape, weights, block } = options;
  const config = configOf(shape);
  const expected = [...expectedLanguageTensors(config, COMPRESSOR_WIDTH), ...expectedVisionTensors(ORYX_VIT)];
  const load = (runtime: Runtime, tensors: ReadonlyMap<string, StoredTensor>) =>
    loadModel(runtime, {
      config: config.language,
      visionShape: ORYX_VIT,
      language: tensors,
      vision: tensors,
    });
  return withRandomModel(new Map(expected), options, load, async ({ model, runtime, loadMs }) => {
    const figures = await measureRequests(model, config, options);
    return { bench: "ask", shape, weights, block, device: runtime.device, loadMs, ...figures };
  });
}

/** Asks the same question a few times, of a model that is loaded. */
async function measureRequests(
  model: LoadedModel,
  config: OryxConfig,
  { media, size, tokens, signal, onStep = () => {} }: AskBenchOptions,
) {
  const engine = new Engine({
    ...model,
    cache: new KvCache(1, () => model.decoder.slot(CONTEXT)),
    tokenizer: BYTES,
    style: config.family,
    views: config.vision.views,
    stopIds: new Set(), // so that an answer is as long as it was asked to be
    openMedia: media.length > 0 ? openMedia : picture(size),
    close: async () => {},
    sampling: (request) => request,
  });
  const request = {
    question: QUESTION,
    media: media.length > 0 ? media : ["picture"],
    maxTokens: tokens,
    signal,
  };
  const answers: Answer[] = [];
  const watch = new Watch();
  for (let run = 1; run <= RUNS; run++) {
    const onProgress = ({ stage, done, total }: Progress) =>
      onStep(`request ${run} of ${RUNS}, ${stage} ${done} of ${total}`);
    await watch.timed(async () => answers.push(await engine.ask({ ...request, onProgress }).answer()));
  }
  const { items, promptTokens } = (answers[0] as Answer).plan;
  return { items, promptTokens, requests: answers.map((a) => a.timings), process: watch.report() };
}

/** A picture with a little of everything in it, which takes no decoding. */
function picture({ width, height }: Size): OpenMedia {
  const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * i) >> 9);
  const image: RgbImage = { width, height, data };
  return async () => ({ kind: "image", name: "picture", size: { width, height }, decode: async () => image });
}

const utf8 = new TextEncoder();
const SPECIALS = ["<|im_start|>", "<|im_end|>"];

/** A token is a byte: a model of random weights says nothing anyway. */
const BYTES: EngineParts["tokenizer"] = {
  encode: (text) => [...utf8.encode(text)],
  decode: (ids) => new TextDecoder().decode(Uint8Array.from(ids)),
  special: (content) => 256 + SPECIALS.indexOf(content),
  vocabSize: 256 + SPECIALS.length,
  specialIds: new Set(SPECIALS.map((_, i) => 256 + i)),
  pieces: { bytes: (id) => Uint8Array.of(32 + (id % 90)), strippedSpaces: 0 },
};

/** The report as a table. */
export function askTable(report: AskReport): string {
  const { shape, device, loadMs, items, promptTokens, requests } = report;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
  const row = (name: string, cell: (t: Timings) => string) => [name, ...requests.map(cell)];
  return [
    `${shape} and oryxvit, random ${storedName(report)} weights, ${device}; loaded in ${seconds(loadMs)}`,
    ...items.map(
      (i) => `${i.modality} ${i.source.width}x${i.source.height} at ${i.size.width}x${i.size.height}`,
    ),
    `prompt of ${promptTokens} tokens, ${items.reduce((sum, i) => sum + i.visualTokens, 0)} of them visual`,
    textTable([
      ["", "first", "again"],
      row("reading media", (t) => seconds(t.decodeMs)),
      row("encoding", (t) => seconds(t.encodeMs)),
      row("prefill", (t) => seconds(t.prefillMs)),
      row("first token after", (t) => seconds(t.firstTokenMs)),
      row("then", (t) => `${t.tokensPerSecond.toFixed(1)} tok/s`),
    ]),
    processLine(report.process),
  ].join("\n");
}
