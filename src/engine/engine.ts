/// <reference lib="esnext.disposable" preserve="true" />
import { AnswerStream } from "./answer.ts";
import { checkRequest } from "./check.ts";
import { Conversation } from "./conversation.ts";
import type { Likelihoods } from "./likelihood.ts";
import type { EngineParts } from "./parts.ts";
import type { Answer, AskRequest, Piece, Plan } from "./request.ts";

/** A loaded model that answers questions about images and videos. */
export class Engine {
  readonly #parts: EngineParts;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** Asks one question. @throws as {@link Conversation.ask} does, when the answer is read. */
  ask(request: AskRequest): AnswerStream {
    return new AnswerStream(this.#ask(checkRequest(request)));
  }

  /**
   * How likely each of some texts is as the beginning of the answer: for a multiple choice, its letters.
   * @throws as {@link Conversation.ask}
   */
  async likelihoods(request: AskRequest, texts: readonly string[]): Promise<Likelihoods> {
    const conversation = new Conversation(this.#parts, checkRequest(request));
    try {
      return await conversation.likelihoods(request, texts);
    } finally {
      conversation.close();
    }
  }

  /**
   * What a question would take, and why: frames, compression, size, tokens. Only the headers of its media are read.
   * @throws as {@link Conversation.ask}
   */
  async plan(request: AskRequest): Promise<Plan> {
    const conversation = new Conversation(this.#parts, checkRequest(request));
    try {
      return await conversation.plan(request);
    } finally {
      conversation.close();
    }
  }

  /** Opens a conversation, to be closed. @throws OryxError `busy` when the model holds as many as it may, `out_of_memory` */
  chat(options: { system?: string } = {}): Conversation {
    return new Conversation(this.#parts, options);
  }

  /** Releases the model once the step that is computed has ended; answers on their way reject with `closed`. */
  close(): Promise<void> {
    return this.#parts.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async *#ask(request: AskRequest): AsyncGenerator<Piece, Answer, undefined> {
    const conversation = new Conversation(this.#parts, request);
    try {
      const stream = conversation.ask(request);
      yield* stream;
      return await stream.answer();
    } finally {
      conversation.close();
    }
  }
}
