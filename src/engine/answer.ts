import { OryxError } from "../core/errors.ts";
import type { Answer, Piece } from "./request.ts";

/**
 * An answer on its way: iterate over it for its text as it comes, or await {@link AnswerStream.answer} for the
 * whole. Work begins with the first of the two. There is one iteration; leaving it early ends the request.
 */
export class AnswerStream implements AsyncIterable<Piece> {
  readonly #run: AsyncGenerator<Piece, Answer, undefined>;
  #started = false;
  readonly #outcome: Promise<Answer>;
  #settle: { resolve: (answer: Answer) => void; reject: (error: unknown) => void } | undefined;

  constructor(run: AsyncGenerator<Piece, Answer, undefined>) {
    this.#run = run;
    this.#outcome = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#outcome.catch(() => {}); // whoever awaits it is told
  }

  /** @throws OryxError `busy` when somebody iterates already, and what the request throws. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Piece, void, undefined> {
    if (this.#started) {
      throw new OryxError(
        "busy",
        "this answer is being read already",
        "read it once; answer() has the whole",
      );
    }
    this.#started = true;
    try {
      this.#settle?.resolve(yield* this.#run);
    } catch (error) {
      this.#settle?.reject(error);
      throw error;
    } finally {
      // Does nothing when there is an answer or an error; else the iteration was left.
      this.#settle?.reject(
        new OryxError("aborted", "the answer was left before its end", "read it to its end"),
      );
    }
  }

  /** The whole answer with its plan and timings, as often as asked for. Throws what the request threw. */
  async answer(): Promise<Answer> {
    if (!this.#started) for await (const _ of this);
    return this.#outcome;
  }
}
