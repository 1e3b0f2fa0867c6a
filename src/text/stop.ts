import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";

/**
 * Ends a streamed text at the first stop string. Text that may be the beginning of one is held back until that is
 * certain, so nothing of a stop string ever comes out. A text ends where a stop string is first complete; if
 * several are complete there, the longest counts. How the text is cut into pieces makes no difference.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";
  #matched: string | undefined;

  /** @throws OryxError `bad_option` when there are too many, or one is empty, too long or not valid Unicode. */
  constructor(stops: readonly string[]) {
    if (stops.length > LIMITS.stopStrings || stops.some((stop) => stop.length > LIMITS.stopStringChars)) {
      const allowed = `${LIMITS.stopStrings} of ${LIMITS.stopStringChars} characters`;
      throw new OryxError(
        "bad_option",
        "there are too many stop strings, or one is too long",
        `give ${allowed}`,
      );
    }
    for (const stop of stops) {
      if (stop === "" || LONE_SURROGATE.test(stop)) {
        const problem = `the stop string ${JSON.stringify(stop)} is empty or not valid text`;
        throw new OryxError("bad_option", problem, "leave it out");
      }
    }
    this.#stops = [...new Set(stops)].sort((a, b) => b.length - a.length);
  }

  /** The stop string that ended the text. */
  get matched(): string | undefined {
    return this.#matched;
  }

  /** The text that is now certain to come before any stop string; nothing once one has been found. */
  push(piece: string): string {
    if (this.#matched !== undefined) return "";
    const text = this.#held + piece;
    for (let end = this.#held.length + 1; end <= text.length; end++) {
      this.#matched = this.#stops.find((stop) => text.endsWith(stop, end));
      if (this.#matched !== undefined) {
        this.#held = "";
        return text.slice(0, end - this.#matched.length);
      }
    }
    const certain = text.length - this.#beginningLength(text);
    this.#held = text.slice(certain);
    return text.slice(0, certain);
  }

  /** At the end of the text: what was held back and turned out to be no stop string. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  /** Length of the longest end of `text` that some stop string begins with. */
  #beginningLength(text: string): number {
    const longest = (this.#stops[0]?.length ?? 1) - 1;
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      const end = text.slice(text.length - length);
      if (this.#stops.some((stop) => stop.length > length && stop.startsWith(end))) return length;
    }
    return 0;
  }
}

const LONE_SURROGATE = /\p{Surrogate}/u;
