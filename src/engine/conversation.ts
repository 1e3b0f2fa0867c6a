/// <reference lib="esnext.disposable" preserve="true" />
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { Detokenizer } from "../text/detokenize.ts";
import {
  conversationPrompt,
  followUpPrompt,
  longVideoQuestion,
  type Message,
  type PromptToken,
  userMessage,
} from "../text/prompt.ts";
import { StopMatcher } from "../text/stop.ts";
import { AnswerStream } from "./answer.ts";
import { checkRequest } from "./check.ts";
import type { KvSlot } from "./kv.ts";
import { type EncodedMedia, encodeMedia, type PlannedMedia, planMedia } from "./media.ts";
import type { EngineParts } from "./parts.ts";
import type { Answer, Finish, MediaItem, Piece, Plan, Stage, TurnRequest } from "./request.ts";
import { Sampler } from "./sampler.ts";
import type { Stretch } from "./sequence.ts";
import { Stopwatch } from "./stopwatch.ts";

const DEFAULT_MAX_TOKENS = 1024;

/**
 * A conversation with one model. It keeps the keys and values of everything said and seen, so that a further
 * question costs only its own tokens. A turn that fails or is aborted leaves the conversation as it was before.
 */
export class Conversation {
  readonly #parts: EngineParts;
  readonly #system: string | undefined;
  readonly #slot: KvSlot;
  /** Tokens of the last answer that are not in the cache; undefined before the first turn. */
  #unfed: readonly number[] | undefined;
  #answering: AsyncGenerator<Piece, Answer, undefined> | undefined;
  /** Tokens cached when the turn began, or when it had its answer. */
  #before = 0;
  readonly #ending = new AbortController();
  #closed = false;

  constructor(parts: EngineParts, options: { system?: string | undefined } = {}) {
    this.#parts = parts;
    this.#system = options.system;
    this.#slot = parts.cache.acquire();
  }

  /** Tokens that the conversation holds. */
  get tokens(): number {
    return this.#closed ? 0 : this.#slot.length + (this.#unfed?.length ?? 0);
  }

  /**
   * Asks the next question.
   * @throws OryxError `busy` while the last answer is still coming, `closed`, and whatever the request deserves:
   * `bad_option`, `prompt_invalid`, `context_exceeded`, `media_*`, `aborted`, `runtime_failed`.
   */
  ask(request: TurnRequest): AnswerStream {
    const turn = this.#turn(checkRequest(request));
    return new AnswerStream(turn);
  }

  /** Ends an answer on its way, and gives the conversation's memory back; a second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ending.abort();
    if (this.#answering === undefined) this.#parts.cache.release(this.#slot);
    // An answer that waits for its reader does not hear the signal: it is ended as its reader would end it.
    else void this.#answering.return(undefined as never).then(this.#leave, this.#leave);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *#turn(request: TurnRequest): AsyncGenerator<Piece, Answer, undefined> {
    if (this.#closed) throw closed();
    if (this.#answering)
      throw new OryxError("busy", "the last answer is still coming", "await it, or abort it");
    this.#before = this.#slot.length;
    const signal = AbortSignal.any([this.#ending.signal, ...(request.signal ? [request.signal] : [])]);
    const answering = this.#answer(this.#slot, { ...request, signal });
    this.#answering = answering;
    try {
      const answer = yield* answering;
      if (answer === undefined) throw closed();
      this.#before = this.#slot.length;
      return answer;
    } catch (error) {
      throw this.#closed ? closed() : error;
    } finally {
      this.#leave();
    }
  }

  /** Ends a turn, once: what it cached is forgotten unless it had an answer. */
  readonly #leave = (): void => {
    if (this.#answering === undefined) return;
    this.#answering = undefined;
    this.#slot.truncate(this.#before);
    if (this.#closed) this.#parts.cache.release(this.#slot);
  };

  async *#answer(slot: KvSlot, request: TurnRequest): AsyncGenerator<Piece, Answer, undefined> {
    const watch = new Stopwatch();
    const generation = new Generation(this.#parts, request);
    const { plan, frameTimesS, logits } = await this.#read(slot, request, generation.maxTokens, watch);
    const { text, finish, tokens, unfed } = yield* generation.run(slot, logits, plan.maxTokens, watch);
    this.#unfed = unfed;
    return { text, finish, tokens, plan, frameTimesS, timings: watch.timings(tokens) };
  }

  /** Everything before the answer: opens, plans, encodes and prefills. What was opened is closed again. */
  async #read(slot: KvSlot, request: TurnRequest, maxTokens: number, watch: Stopwatch): Promise<Read> {
    const media = await watch.timed("decode", () => this.#planAll(request));
    let encoded: EncodedMedia[];
    let plan: Plan;
    const prompt = this.#prompt(request.question, media);
    try {
      plan = this.#plan(slot, prompt, media, maxTokens);
      request.onPlan?.(plan);
      encoded = await this.#encodeAll(media, request, watch);
    } finally {
      await closeAll(media);
    }
    const sequence = [{ ids: this.#unfed ?? [] }, ...stretches(prompt, encoded)];
    const onProgress = (done: number, total: number) =>
      request.onProgress?.({ stage: "prefill", done, total });
    const logits = await watch.timed("prefill", () =>
      this.#parts.decoder.prefill(slot, sequence, { signal: request.signal, onProgress }),
    );
    const frameTimesS = encoded.filter((_, i) => media[i]?.opened.kind === "video").map((e) => e.frameTimesS);
    return { plan, frameTimesS, logits };
  }

  /** Opens and plans every item. When one fails, those before it are closed. */
  async #planAll(request: TurnRequest): Promise<PlannedMedia[]> {
    const items: readonly MediaItem[] = request.media ?? [];
    if (items.length > LIMITS.mediaPerRequest) {
      const problem = `${items.length} images and videos are more than ${LIMITS.mediaPerRequest}`;
      throw new OryxError("bad_option", problem, "ask about fewer at a time");
    }
    const planned: PlannedMedia[] = [];
    try {
      for (const item of items) {
        throwIfAborted(request.signal);
        const opened = await this.#parts.openMedia(item, request.signal);
        try {
          planned.push(planMedia(opened, request, this.#parts.views));
        } catch (error) {
          if (opened.kind === "video") await opened.video.close();
          throw error;
        }
      }
    } catch (error) {
      await closeAll(planned);
      throw error;
    }
    return planned;
  }

  #prompt(question: string, media: readonly PlannedMedia[]): PromptToken[] {
    const { tokenizer, style } = this.#parts;
    const [only] = media;
    const long = media.length === 1 && only?.plan.modality === "video_long";
    const text = long ? longVideoQuestion(only.plan.frameTimesS?.length ?? 0, question) : question;
    const user = userMessage([...media.map((_, visual) => ({ visual })), { text }]);
    if (this.#unfed !== undefined) return followUpPrompt(tokenizer, style, [user]);
    const system: Message[] =
      this.#system === undefined ? [] : [{ role: "system", content: [{ text: this.#system }] }];
    return conversationPrompt(tokenizer, style, [...system, user]);
  }

  /** Counts before any work. @throws OryxError `context_exceeded` */
  #plan(slot: KvSlot, prompt: readonly PromptToken[], media: readonly PlannedMedia[], asked: number): Plan {
    const items = media.map((m) => m.plan);
    const visualTokens = items.reduce((n, item) => n + item.visualTokens, 0);
    const promptTokens = prompt.length - items.length + visualTokens;
    const cachedTokens = slot.length + (this.#unfed?.length ?? 0);
    // The answer's last token is never fed, so it needs no room.
    const room = slot.capacity - cachedTokens - promptTokens + 1;
    if (room < 1) throw tooLong(promptTokens, visualTokens, cachedTokens, slot.capacity);
    const maxTokens = Math.min(asked, room);
    return { items, visualTokens, promptTokens, cachedTokens, contextTokens: slot.capacity, maxTokens };
  }

  async #encodeAll(
    media: readonly PlannedMedia[],
    request: TurnRequest,
    watch: Stopwatch,
  ): Promise<EncodedMedia[]> {
    const pictures = (m: PlannedMedia) => m.plan.frameTimesS?.length ?? 1;
    const total = media.reduce((n, m) => n + pictures(m), 0);
    const encoded: EncodedMedia[] = [];
    let before = 0;
    for (const m of media) {
      const onProgress = (stage: Stage, done: number) =>
        request.onProgress?.({ stage, done: before + done, total });
      const options = { signal: request.signal, onProgress, timed: watch.timed };
      encoded.push(await encodeMedia(m, this.#parts.encoder, options));
      before += pictures(m);
    }
    return encoded;
  }
}

/** A prompt that has been read: what it took, and the logits behind it. */
interface Read {
  plan: Plan;
  frameTimesS: number[][];
  logits: Float32Array;
}

/** What is left of a generation when it has ended. */
interface Generated {
  text: string;
  finish: Finish;
  tokens: number;
  /** Tokens of the answer that the cache does not hold. */
  unfed: readonly number[];
}

/** One answer being generated. Its options are checked when it is made, before any work. */
class Generation {
  readonly maxTokens: number;
  readonly #parts: EngineParts;
  readonly #request: TurnRequest;
  readonly #sampler: Sampler;
  readonly #stop: StopMatcher;

  constructor(parts: EngineParts, request: TurnRequest) {
    this.#parts = parts;
    this.#request = request;
    this.maxTokens = request.maxTokens ?? DEFAULT_MAX_TOKENS;
    if (!Number.isInteger(this.maxTokens) || this.maxTokens < 1) {
      throw new OryxError("bad_option", `maxTokens is ${this.maxTokens}`, "give a whole number from 1");
    }
    this.#sampler = new Sampler(parts.sampling(request));
    this.#stop = new StopMatcher(request.stop ?? []);
  }

  async *run(
    slot: KvSlot,
    first: Float32Array,
    maxTokens: number,
    watch: Stopwatch,
  ): AsyncGenerator<Piece, Generated, undefined> {
    const { decoder, tokenizer, stopIds } = this.#parts;
    const detokenizer = new Detokenizer(tokenizer.pieces);
    let [text, tokens, logits] = ["", 0, first];
    let finish: Finish = "length";
    let unfed: number[] = [];
    while (tokens < maxTokens) {
      const id = this.#sampler.next(logits);
      watch.firstToken();
      if (stopIds.has(id)) {
        finish = "end";
        break;
      }
      unfed = [id];
      tokens++;
      this.#request.onProgress?.({ stage: "generate", done: tokens, total: maxTokens });
      const piece = this.#stop.push(detokenizer.push(id));
      text += piece;
      if (piece !== "") yield { text: piece };
      if (this.#stop.matched !== undefined) {
        finish = "stop";
        break;
      }
      if (tokens < maxTokens) {
        logits = await decoder.next(slot, id, this.#request.signal);
        unfed = [];
      }
    }
    const rest = this.#stop.push(detokenizer.flush()) + this.#stop.flush();
    if (rest !== "") yield { text: rest };
    return { text: text + rest, finish, tokens, unfed };
  }
}

/** The prompt with its visuals in place; neighbouring ids joined. */
function stretches(prompt: readonly PromptToken[], encoded: readonly EncodedMedia[]): Stretch[] {
  const out: Stretch[] = [];
  let ids: number[] = [];
  for (const token of prompt) {
    if (typeof token === "number") ids.push(token);
    else {
      out.push({ ids }, (encoded[token.visual] as EncodedMedia).sequence);
      ids = [];
    }
  }
  return [...out, { ids }];
}

const closed = () => new OryxError("closed", "the conversation is closed", "open another one");

function tooLong(prompt: number, visual: number, cached: number, context: number): OryxError {
  const parts = [`the request takes ${prompt} tokens`];
  if (visual > 0) parts.push(`${visual} of them for images and video`);
  if (cached > 0) parts.push(`${cached} are in the conversation already`);
  const problem = `${parts.join(", ")}, but the context holds ${context}`;
  const remedy =
    visual > 0
      ? "take fewer frames (--max-frames, maxFrames), compress more (--compress, compress: 2 or 4), or show less"
      : "shorten the question, or begin another conversation";
  return new OryxError("context_exceeded", problem, remedy);
}

async function closeAll(media: readonly PlannedMedia[]): Promise<void> {
  const closing = media.map(({ opened }) => (opened.kind === "video" ? opened.video.close() : undefined));
  for (const closed of await Promise.allSettled(closing))
    if (closed.status === "rejected") throw closed.reason;
}
