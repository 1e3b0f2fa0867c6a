import { OryxError, quote } from "../core/errors.ts";
import type { ViewLimits } from "../model/views.ts";
import { PAPER } from "../model/visual.ts";
import type { Message } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import {
  answerMessage,
  checkedLength,
  labelledPrompt,
  questionMessage,
  recordMessages,
  type TrainingStyle,
} from "./conversation.ts";
import type { Dataset, Example, ExampleVisual } from "./example.ts";
import { questionWithSlots } from "./frames.ts";
import { order, randomAt } from "./order.ts";
import { RecordFile } from "./record-file.ts";
import type { RecordIndex } from "./record-index.ts";
import { type PlannedMedia, planMedia, type RecordMediaOptions } from "./record-media.ts";
import { parseRecord, type RecordText } from "./records.ts";

/** A data set of records, as plain data that can be handed to a thread. */
export interface RecordsSpec {
  /** JSON or JSON lines: paths, or indexes made by `indexRecords`, which threads then share. */
  files: readonly (string | RecordIndex)[];
  /** Folder that the paths in the records count from. */
  root: string;
  /** Whether records may name files by absolute paths. Default: no. */
  absolute?: boolean | undefined;
  style: TrainingStyle;
  views: ViewLimits;
  /** Tokens of an example at most; longer ones are refused before their pixels are decoded. */
  maxTokens: number;
  /** Frames of a video at most. Default: the paper's 64, and 256 of a long one. */
  frames?: { video: number; video_long: number } | undefined;
  /** Draws the places to which frames are moved that a question is about. */
  seed: number;
}

const PAPER_FRAMES = { video: PAPER.videoFrames, video_long: PAPER.longFrames } as const;

/**
 * Records as examples, those of the first file first. Only indexes are held in memory.
 * @throws OryxError `data_invalid` when a file cannot be read
 */
export async function recordDataset(spec: RecordsSpec, tokenizer: Tokenizer): Promise<Dataset> {
  const files: RecordFile[] = [];
  try {
    for (const source of spec.files) files.push(await RecordFile.open(source));
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
  return new Records(files, spec, tokenizer);
}

class Records implements Dataset {
  readonly length: number;
  readonly #files: readonly RecordFile[];
  readonly #spec: RecordsSpec;
  readonly #media: RecordMediaOptions;
  readonly #tokenizer: Tokenizer;
  #closing: Promise<void> | undefined;

  constructor(files: readonly RecordFile[], spec: RecordsSpec, tokenizer: Tokenizer) {
    this.length = files.reduce((n, file) => n + file.length, 0);
    this.#files = files;
    this.#spec = spec;
    this.#tokenizer = tokenizer;
    const { root, absolute = false, views, frames = PAPER_FRAMES } = spec;
    this.#media = { root, absolute, views, frames };
  }

  async example(index: number): Promise<Example> {
    if (this.#closing) throw new OryxError("closed", "the data set was closed", "open it again");
    const { part: file, number } = located(this.#files, index);
    const place = file.place(number);
    let id: string | undefined;
    try {
      const record = parseRecord(await file.read(number));
      id = record.id;
      const targets = "targets" in record.text ? record.text.targets : [];
      const media = await planMedia(record.media, targets, randomAt(this.#spec.seed, index), this.#media);
      try {
        return await this.#build(id ?? place, record.text, media);
      } finally {
        await media.close();
      }
    } catch (error) {
      throw named(error, id === undefined ? place : `${quote(id)} (${place})`);
    }
  }

  /** Tokens first: pixels are decoded only for an example that is sound and short enough. */
  async #build(id: string, text: RecordText, media: PlannedMedia): Promise<Example> {
    const { style, maxTokens } = this.#spec;
    const messages = messagesOf(text, media);
    const { prompt, labels } = labelledPrompt(this.#tokenizer, style, messages, media.visuals.length);
    const tokens = checkedLength(prompt, media.visuals, maxTokens);
    const visuals: ExampleVisual[] = [];
    for (const { shape, count, load } of media.visuals) {
      visuals.push({ shape, count, pictures: await load() });
    }
    return { id, prompt, labels, visuals, tokens };
  }

  close(): Promise<void> {
    this.#closing ??= Promise.all(this.#files.map((file) => file.close())).then(() => {});
    return this.#closing;
  }
}

function messagesOf(text: RecordText, { visuals, slots }: PlannedMedia): Message[] {
  if ("turns" in text) return recordMessages(text.turns);
  if ("caption" in text) return [questionMessage(visuals, ""), answerMessage(text.caption)];
  const question = questionWithSlots(text.question, slots);
  return [questionMessage(visuals, question), answerMessage(text.answer)];
}

/** Whether an error says that one sample is broken or too long, rather than that all is lost. */
export function isSampleFault(error: unknown): error is OryxError {
  return error instanceof OryxError && /^(sample|media)_/.test(error.code);
}

/** The same error, told of a sample. What a sample's text or pictures cannot be made into is the sample's fault. */
function named(error: unknown, name: string): unknown {
  if (!(error instanceof OryxError)) return error;
  const { code, message, remedy } = error;
  const ofSample = code === "prompt_invalid" || code === "bad_option" ? "sample_invalid" : code;
  return new OryxError(ofSample, `${name}: ${message}`, remedy, { cause: error });
}

/** Which of several parts, laid end to end, a number falls into, and where in it. */
function located<P extends { length: number }>(
  parts: readonly P[],
  index: number,
): { part: P; number: number; nth: number } {
  let number = index;
  if (Number.isInteger(index) && index >= 0) {
    for (const [nth, part] of parts.entries()) {
      if (number < part.length) return { part, number, nth };
      number -= part.length;
    }
  }
  throw new RangeError(`example ${index} is not in the data set`);
}

// ------------------------------------------------------------------------------------------------- mixture

/** A data set in a mixture, and how often each of its examples is seen: 0.5 takes half of them, 2 takes all twice. */
export interface MixturePart {
  dataset: Dataset;
  weight: number;
}

/**
 * Several data sets as one. Which half of a data set a weight of 0.5 takes, the seed decides.
 * @throws OryxError `data_invalid`: a weight that is no positive number, or nothing in it
 */
export function mixture(parts: readonly MixturePart[], seed: number): Dataset {
  const rations = parts.map(({ dataset, weight }) => {
    if (!(weight > 0 && weight < Number.POSITIVE_INFINITY)) {
      throw new OryxError("data_invalid", `a data set has the weight ${weight}`, "give a number above 0");
    }
    return { dataset, length: Math.round(dataset.length * weight) };
  });
  const length = rations.reduce((n, ration) => n + ration.length, 0);
  if (length === 0) throw new OryxError("data_invalid", "a mixture has no examples", "give it some");
  return {
    length,
    async example(index) {
      const { part, number, nth } = located(rations, index);
      const all = part.dataset.length;
      const round = order(randomAt(seed, nth).bits(), Math.floor(number / all), all);
      return part.dataset.example(round(number % all));
    },
    async close() {
      await Promise.all(parts.map(({ dataset }) => dataset.close()));
    },
  };
}
