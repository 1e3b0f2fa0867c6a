/** What a detokenizer needs of a tokenizer. */
export interface TokenPieces {
  /** The UTF-8 bytes that a token adds to the text; none for special tokens and for ids without a token. */
  bytes(id: number): Uint8Array;
  /** Spaces that the decoder drops from the start of a text (tokenizers that put one there themselves). */
  readonly strippedSpaces: number;
}

/**
 * Turns ids into text as they come. A character whose bytes are spread over several tokens comes out whole with
 * its last one; bytes that can become no character come out as U+FFFD. The pieces joined are the text of all ids.
 */
export class Detokenizer {
  readonly #pieces: TokenPieces;
  // A byte order mark inside a model's answer is text like any other.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #spacesToStrip: number;

  constructor(pieces: TokenPieces) {
    this.#pieces = pieces;
    this.#spacesToStrip = pieces.strippedSpaces;
  }

  /** The text that is certain after this id; may be empty. */
  push(id: number): string {
    return this.#strip(this.#utf8.decode(this.#pieces.bytes(id), { stream: true }));
  }

  /** What is left at the end of the ids; afterwards the next id starts a new text. */
  flush(): string {
    const rest = this.#strip(this.#utf8.decode());
    this.#spacesToStrip = this.#pieces.strippedSpaces;
    return rest;
  }

  #strip(text: string): string {
    let start = 0;
    while (this.#spacesToStrip > 0 && start < text.length) {
      if (text[start] === " ") {
        start++;
        this.#spacesToStrip--;
      } else {
        this.#spacesToStrip = 0;
      }
    }
    return text.slice(start);
  }
}
