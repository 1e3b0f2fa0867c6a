import { createHash } from "node:crypto";
import { z } from "zod";
import { LIMITS } from "../../core/limits.ts";
import { shortened } from "../../media/file.ts";
import { invalidLog, LineLog } from "../line-log.ts";
import type { Given } from "./ask.ts";
import type { SetQuestion } from "./question.ts";

/**
 * Answers as they come in, so that an evaluation goes on where it was stopped. JSON lines: the first holds the
 * settings, each further one an answer with what it took.
 */

const BEGINNING = '{"oryx_eval":1';
const HEAD = z.object({ oryx_eval: z.literal(1), settings: z.record(z.string(), z.unknown()) });

const TIMINGS = z.object({
  decodeMs: z.number(),
  encodeMs: z.number(),
  prefillMs: z.number(),
  firstTokenMs: z.number(),
  totalMs: z.number(),
  tokensPerSecond: z.number(),
});
const ITEM = z.object({
  name: z.string(),
  frames: z.number(),
  k: z.number(),
  size: z.string(),
  visualTokens: z.number(),
});
const GIVEN = z.object({
  got: z.string(),
  chosen: z.number().int().min(0).max(LIMITS.optionsPerQuestion).nullable().optional(),
  likelihoods: z.array(z.number()).max(LIMITS.optionsPerQuestion).optional(),
  tokens: z.number(),
  took: z.object({
    items: z.array(ITEM).max(LIMITS.mediaPerRequest),
    visualTokens: z.number(),
    promptTokens: z.number(),
    isReduced: z.boolean(),
    reused: z.object({ pictures: z.number(), promptTokens: z.number() }),
    timings: TIMINGS,
  }),
});
const LINE = z.object({ id: z.string(), question: z.string(), given: GIVEN });

/** What an evaluation's answers depend on, by name, as JSON has it. */
export type Settings = Readonly<Record<string, unknown>>;

interface Answer {
  /** Its hash. */
  question: string;
  given: Given;
}

export class AnswerLog {
  readonly #log: LineLog;
  readonly #answers: ReadonlyMap<string, Answer>;

  private constructor(log: LineLog, answers: ReadonlyMap<string, Answer>) {
    this.#log = log;
    this.#answers = answers;
  }

  /**
   * Opens a log, or begins one.
   * @throws OryxError `answers_invalid`: it was written with other settings, or is damaged; `disk`
   */
  static async open(path: string, settings: Settings): Promise<AnswerLog> {
    const answers = new Map<string, Answer>();
    const log = await LineLog.open(path, BEGINNING, (text, number) => {
      if (number === 1) checkHead(path, text, JSON.parse(JSON.stringify(settings)));
      else {
        const { data } = LINE.safeParse(parsed(text));
        if (data === undefined) throw invalidLog(path, `line ${number} is damaged`);
        const { id, question, given } = data;
        answers.set(id, { question, given: given as Given });
      }
      return true;
    });
    if (log.isEmpty) await log.append(JSON.stringify({ oryx_eval: 1, settings }));
    return new AnswerLog(log, answers);
  }

  /**
   * The answer to this question, if there is one; a question that was changed, or whose media were, has none.
   * @param media what they are now, see `stateOf`
   */
  given(question: SetQuestion, media: string): Given | undefined {
    const found = this.#answers.get(question.id);
    return found?.question === hashOf(question, media) ? found.given : undefined;
  }

  /** Notes an answer; when this returns, it would survive a loss of power. @throws OryxError `disk` */
  note(
    question: SetQuestion,
    media: string,
    given: Given,
    score: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { id, categories } = question;
    const line = { id, question: hashOf(question, media), given, ...score, categories };
    return this.#log.append(JSON.stringify(line));
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}

function checkHead(path: string, text: string, settings: Settings): void {
  const { data } = HEAD.safeParse(parsed(text));
  if (data === undefined) throw invalidLog(path, "its first line is damaged");
  const names = new Set([...Object.keys(settings), ...Object.keys(data.settings)]);
  const other = [...names].filter((name) => {
    return JSON.stringify(data.settings[name]) !== JSON.stringify(settings[name]);
  });
  if (other.length === 0) return;
  const [name] = other as [string];
  const was = shortened(JSON.stringify(data.settings[name]) ?? "not given");
  throw invalidLog(path, `it was written with other settings: ${name} was ${was}`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Tells a question from another one with the same id, or about other media. */
function hashOf(question: SetQuestion, state: string): string {
  const { media, text } = question;
  const options = question.kind === "choice" ? question.options : undefined;
  return createHash("sha256")
    .update(JSON.stringify([media, state, text, options]))
    .digest("hex")
    .slice(0, 16);
}
