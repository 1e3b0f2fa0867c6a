/// <reference lib="esnext.disposable" preserve="true" />
import { AnswerStream } from "./answer.ts";
import { checkRequest } from "./check.ts";
import { Conversation } from "./conversation.ts";
import type { EngineParts } from "./parts.ts";
import type { Answer, AskRequest, Piece } from "./request.ts";

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

  /** Opens a conversation, to be closed. @throws OryxError `busy` when the model holds as many as it may. */
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
