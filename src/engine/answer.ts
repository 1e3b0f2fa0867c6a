import type { Answer, Piece } from "./request.ts";

/**
 * An answer on its way: iterate over it for its text as it comes, or await {@link AnswerStream.answer} for the
 * whole. Work begins with the first of the two; leaving the iteration early ends the request.
 */
export class AnswerStream implements AsyncIterable<Piece> {
  readonly #run: AsyncGenerator<Piece, Answer, undefined>;
  #answer: Answer | undefined;

  constructor(run: AsyncGenerator<Piece, Answer, undefined>) {
    this.#run = run;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece, void, undefined> {
    this.#answer = (yield* this.#run) ?? this.#answer;
  }

  /** The whole answer with its plan and timings. Throws what the request threw. */
  async answer(): Promise<Answer> {
    for await (const _ of this);
    if (this.#answer === undefined) throw new TypeError("the iteration over this answer was left early");
    return this.#answer;
  }
}
