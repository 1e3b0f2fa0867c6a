/// <reference lib="esnext.disposable" preserve="true" />
import { AnswerStream } from "./answer.ts";
import { checkAsk, checkChat } from "./check.ts";
import { Conversation } from "./conversation.ts";
import type { Likelihoods } from "./likelihood.ts";
import type { EngineParts } from "./parts.ts";
import type { Answer, AskRequest, ChatOptions, Piece, Plan, TurnRequest } from "./request.ts";

/** A loaded model that answers questions about images and videos. */
export class Engine {
  readonly #parts: EngineParts;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /**
   * Asks one question.
   * @throws OryxError `bad_option`, `prompt_invalid` at once, when the request is not what its type says, or asks
   * nothing; `busy`, and all else as {@link Conversation.ask}, when the answer is read.
   */
  ask(request: AskRequest): AnswerStream {
    return new AnswerStream(this.#ask(checkAsk(request)));
  }

  /**
   * How likely each of some texts is as the beginning of the answer: for a multiple choice, its letters.
   * @throws as {@link Conversation.ask}
   */
  likelihoods(request: AskRequest, texts: readonly string[]): Promise<Likelihoods> {
    return this.#once(request, (conversation, turn) => conversation.likelihoods(turn, texts));
  }

  /**
   * What a question would take, and why: frames, compression, size, tokens. Only the headers of its media are read.
   * @throws as {@link Conversation.ask}
   */
  plan(request: AskRequest): Promise<Plan> {
    return this.#once(request, (conversation, turn) => conversation.plan(turn));
  }

  /**
   * Opens a conversation, to be closed.
   * @throws OryxError `bad_option`; `busy` when the model holds as many as it may; `out_of_memory`
   */
  chat(options: ChatOptions = {}): Conversation {
    return new Conversation(this.#parts, checkChat(options));
  }

  /** Releases the model once the step that is computed has ended; answers on their way reject with `closed`. */
  close(): Promise<void> {
    return this.#parts.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #once<T>(
    request: AskRequest,
    work: (conversation: Conversation, turn: TurnRequest) => Promise<T>,
  ): Promise<T> {
    const { system, ...turn } = checkAsk(request);
    const conversation = new Conversation(this.#parts, { system });
    try {
      return await work(conversation, turn);
    } finally {
      conversation.close();
    }
  }

  async *#ask({ system, ...turn }: AskRequest): AsyncGenerator<Piece, Answer, undefined> {
    const conversation = new Conversation(this.#parts, { system });
    try {
      const stream = conversation.ask(turn);
      yield* stream;
      return await stream.answer();
    } finally {
      conversation.close();
    }
  }
}
