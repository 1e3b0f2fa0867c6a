import { z } from "zod";
import { sealed, unsealed } from "../files/sealed-line.ts";
import { invalidLog, LineLog } from "./line-log.ts";
import type { Reply } from "./niah-ask.ts";

/** Answers as they come in: a line for each task, with its hash. */

const BEGINNING = '{"niah":1,';
const HEAD = z.strictObject({ niah: z.literal(1), fingerprint: z.string() });
const LINE = z.strictObject({
  key: z.string(),
  replies: z.array(z.strictObject({ got: z.string(), tokens: z.number(), hits: z.number() })),
});

export class NiahJournal {
  /** Replies by the key of the task. */
  readonly replies: Map<string, Reply[]>;
  readonly #fingerprint: string;
  readonly #log: LineLog;

  private constructor(log: LineLog, fingerprint: string, replies: Map<string, Reply[]>) {
    this.#log = log;
    this.#fingerprint = fingerprint;
    this.replies = replies;
  }

  /**
   * Reads a journal, if there is one. A line that is not as it was written, and what follows it, counts for nothing.
   * @param fingerprint of all that answers depend on, the cells and needles aside
   * @throws OryxError `answers_invalid` when it was written with another fingerprint, `disk`
   */
  static async open(path: string, fingerprint: string): Promise<NiahJournal> {
    const replies = new Map<string, Reply[]>();
    const log = await LineLog.open(path, BEGINNING, (text, number) => {
      const line = unsealed(text);
      if (number > 1) {
        const task = LINE.safeParse(line);
        if (task.success) replies.set(task.data.key, task.data.replies);
        return task.success;
      }
      const head = HEAD.safeParse(line);
      if (!head.success) throw invalidLog(path, "its first line is damaged");
      if (head.data.fingerprint !== fingerprint) {
        throw invalidLog(
          path,
          "it was written with another model, other films, other options or another oryx",
        );
      }
      return true;
    });
    return new NiahJournal(log, fingerprint, replies);
  }

  /** Notes replies; when it returns they would survive a loss of power. @throws OryxError `disk` */
  async note(key: string, replies: Reply[]): Promise<void> {
    if (this.#log.isEmpty) await this.#log.append(sealed({ niah: 1, fingerprint: this.#fingerprint }));
    await this.#log.append(sealed({ key, replies }));
    this.replies.set(key, replies);
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}
