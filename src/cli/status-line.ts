import type { Output } from "./shell.ts";
import { columnsOf, fitted, wrap } from "./wrap.ts";

const LEAST_PAUSE_MS = 80;
const CLEAR = "\r\x1b[2K";

/** One line at the foot of a terminal that says what is going on, and leaves no trace. */
export class StatusLine {
  readonly #stream: Output;
  readonly #isOn: boolean;
  #isShown = false;
  #lastMs = Number.NEGATIVE_INFINITY;

  /** @param isOn false: nothing is ever written, as when nobody watches */
  constructor(stream: Output, isOn: boolean) {
    this.#stream = stream;
    this.#isOn = isOn;
  }

  /** Shows a text in place of the one before. In quick succession only texts that are `important` are drawn. */
  show(text: string, important = false): void {
    const now = performance.now();
    if (!this.#isOn || (!important && now - this.#lastMs < LEAST_PAUSE_MS)) return;
    this.#lastMs = now;
    this.#isShown = true;
    // One column stays free: a full line would wrap, and only its last part could be cleared.
    this.#stream.write(CLEAR + fitted(text, (this.#stream.columns ?? 80) - 1));
  }

  clear(): void {
    if (this.#isShown) this.#stream.write(CLEAR);
    this.#isShown = false;
    this.#lastMs = Number.NEGATIVE_INFINITY;
  }

  /** Writes a line that stays. */
  keep(text: string): void {
    if (!this.#isOn) return;
    this.clear();
    this.#stream.write(`${wrap(text, columnsOf(this.#stream))}\n`);
  }
}
