/// <reference lib="esnext.disposable" preserve="true" />
import { OryxError } from "../core/errors.ts";
import { Detokenizer } from "../text/detokenize.ts";
import { StopMatcher } from "../text/stop.ts";
import { AnswerStream } from "./answer.ts";
import { checkTurn } from "./check.ts";
import type { KvSlot } from "./kv.ts";
import { checkTexts, type Likelihoods, logLikelihood } from "./likelihood.ts";
import type { OpenedMedia } from "./media.ts";
import type { EngineParts } from "./parts.ts";
import { contextExceeded } from "./plan-request.ts";
import { type Before, closeAll, openAll, type PlannedTurn, planTurn, type Wanted } from "./planning.ts";
import { type Trail, trailAfterAnswer } from "./prefix.ts";
import { PromptReading } from "./reading.ts";
import type { Answer, ChatOptions, Finish, Piece, Plan, Reused, TurnRequest } from "./request.ts";
import { Sampler } from "./sampler.ts";
import { Stopwatch } from "./stopwatch.ts";
import { taskResult } from "./task.ts";

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
  /** What the slot holds, after the last answer. */
  #trail: Trail = "";
  #answering: AsyncGenerator<Piece, Outcome, undefined> | undefined;
  /** Tokens cached when the turn began, or when it had its answer. */
  #before = 0;
  readonly #ending = new AbortController();
  #closed = false;

  constructor(parts: EngineParts, options: ChatOptions = {}) {
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
   * @throws OryxError `bad_option`, `prompt_invalid` at once, when the request is not what its type says, or asks
   * nothing; when the answer is read, `busy` while the last one is still coming, `closed`, and whatever the request
   * deserves: `bad_option`, `context_exceeded`, `budget_exceeded`, `media_*`, `aborted`, `runtime_failed`.
   */
  ask(request: TurnRequest): AnswerStream {
    const turn = this.#turn(checkTurn(request), this.#answer.bind(this));
    return new AnswerStream(turn);
  }

  /**
   * How likely each of some texts is as the beginning of the answer to a question. Neither is kept: the conversation
   * stays as it was. Options of sampling, and the answer's length, mean nothing here.
   * @throws OryxError as {@link Conversation.ask}
   */
  async likelihoods(request: TurnRequest, texts: readonly string[]): Promise<Likelihoods> {
    checkTexts(texts);
    return ended(this.#turn(checkTurn(request), (slot, asked) => this.#score(slot, asked, texts)));
  }

  /**
   * What a question would take, with the reasons, and with the time that it would take where this machine's speed is
   * known. Only the headers of its media are read.
   * @throws OryxError as {@link Conversation.ask}
   */
  async plan(request: TurnRequest): Promise<Plan> {
    return ended(this.#turn(checkTurn(request), this.#planOnly.bind(this)));
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

  async *#turn<T extends Outcome>(
    request: TurnRequest,
    work: (slot: KvSlot, request: TurnRequest) => AsyncGenerator<Piece, T, undefined>,
  ): AsyncGenerator<Piece, T, undefined> {
    if (this.#closed) throw closed();
    if (this.#answering)
      throw new OryxError("busy", "the last answer is still coming", "await it, or abort it");
    this.#before = this.#slot.length;
    const signal = AbortSignal.any([this.#ending.signal, ...(request.signal ? [request.signal] : [])]);
    const answering = work(this.#slot, { ...request, signal });
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
    const { logits, trail, ...read } = await this.#read(slot, request, generation.wanted, watch);
    const { fed, unfed, ...said } = yield* generation.run(slot, logits, read.plan.maxTokens, watch);
    this.#unfed = unfed;
    this.#trail = trailAfterAnswer(trail, fed);
    const { task, options } = request;
    const result = task && { result: taskResult(task, said.text, options) };
    return { ...said, ...result, ...read, timings: watch.timings(said.tokens) };
  }

  async *#score(
    slot: KvSlot,
    request: TurnRequest,
    texts: readonly string[],
  ): AsyncGenerator<Piece, Likelihoods, undefined> {
    const watch = new Stopwatch();
    const { decoder, tokenizer } = this.#parts;
    const ids = texts.map((text) => tokenizer.encode(text));
    const longest = Math.max(...ids.map(({ length }) => length));
    const { plan, frameTimesS, reused, logits } = await this.#read(
      slot,
      request,
      { tokens: longest, isAsked: true },
      watch,
    );
    watch.firstToken();
    if (plan.maxTokens < longest) {
      throw contextExceeded(
        plan.promptTokens + longest - 1,
        plan.visualTokens,
        plan.cachedTokens,
        slot.capacity,
      );
    }
    const likelihoods = [];
    for (const [i, text] of texts.entries()) {
      const tokens = ids[i] as number[];
      likelihoods.push({ text, ...(await logLikelihood(decoder, slot, logits, tokens, request.signal)) });
    }
    slot.truncate(this.#before);
    return { likelihoods, plan, frameTimesS, reused, timings: watch.timings(0) };
  }

  /** Everything before the answer: opens, plans, encodes and prefills. What was opened is closed again. */
  async #read(slot: KvSlot, request: TurnRequest, wanted: Wanted, watch: Stopwatch): Promise<Read> {
    const opened = await watch.timed("decode", () => this.#open(request));
    const reading = new PromptReading(this.#parts, slot, this.#trail, request, watch);
    let plan: Plan;
    try {
      const planned = await this.#plan(request, opened, wanted);
      plan = planned.plan;
      request.onPlan?.(plan);
      await reading.look([...(this.#unfed ?? []), ...planned.prompt], planned.media);
    } finally {
      await closeAll(opened);
    }
    const logits = await reading.read();
    const { trail, frameTimesS, reused } = reading;
    return { plan, frameTimesS, reused, trail, logits };
  }

  // biome-ignore lint/correctness/useYield: a turn like any other, though it says nothing
  async *#planOnly(_: KvSlot, request: TurnRequest): AsyncGenerator<Piece, Plan, undefined> {
    const { wanted } = new Generation(this.#parts, request);
    const opened = await this.#open(request);
    try {
      const { plan } = await this.#plan(request, opened, { ...wanted, isTimeTold: true });
      return plan;
    } finally {
      await closeAll(opened);
    }
  }

  #open({ media = [], signal }: TurnRequest): Promise<OpenedMedia[]> {
    return openAll(media, this.#parts.openMedia, signal);
  }

  #plan(request: TurnRequest, opened: readonly OpenedMedia[], wanted: Wanted): Promise<PlannedTurn> {
    const before: Before = { slot: this.#slot, unfed: this.#unfed, system: this.#system };
    return planTurn(this.#parts, before, request, opened, wanted);
  }
}

/** What a turn ends with. */
type Outcome = Answer | Likelihoods | Plan;

/** The end of a turn that says nothing on its way. */
async function ended<T>(turn: AsyncGenerator<Piece, T, undefined>): Promise<T> {
  for (;;) {
    const { done, value } = await turn.next();
    if (done) return value;
  }
}

/** A prompt that has been read: what it took, and the logits behind it. */
interface Read {
  plan: Plan;
  frameTimesS: readonly (readonly number[])[];
  reused: Reused;
  trail: Trail;
  logits: Float32Array;
}

/** What is left of a generation when it has ended. */
interface Generated {
  text: string;
  finish: Finish;
  tokens: number;
  /** Tokens of the answer that the cache holds, and those that it does not. */
  fed: readonly number[];
  unfed: readonly number[];
}

/** One answer being generated. Its options are checked when it is made, before any work. */
class Generation {
  /** The answer's length. */
  readonly wanted: Wanted;
  readonly #parts: EngineParts;
  readonly #request: TurnRequest;
  readonly #sampler: Sampler;
  readonly #stop: StopMatcher;

  constructor(parts: EngineParts, request: TurnRequest) {
    this.#parts = parts;
    this.#request = request;
    const tokens = request.maxTokens ?? DEFAULT_MAX_TOKENS;
    if (!Number.isInteger(tokens) || tokens < 1) {
      throw new OryxError("bad_option", `maxTokens is ${tokens}`, "give a whole number from 1");
    }
    this.wanted = { tokens, isAsked: request.maxTokens !== undefined };
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
    const fed: number[] = [];
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
        fed.push(id);
        unfed = [];
      }
    }
    const rest = this.#stop.push(detokenizer.flush()) + this.#stop.flush();
    if (rest !== "") yield { text: rest };
    return { text: text + rest, finish, tokens, fed, unfed };
  }
}

const closed = () => new OryxError("closed", "the conversation is closed", "open another one");
