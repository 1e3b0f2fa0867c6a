import { isAborted } from "../core/errors.ts";
import { Random } from "../core/random.ts";
import type { Answerer, Question } from "./question.ts";
import { type Row, Scores, type Targets } from "./report.ts";
import { type Agreement, askAll } from "./run.ts";
import { type Column, type RoundOptions, rounds, type World, type WorldQuestion } from "./world.ts";

export interface EvaluateOptions extends RoundOptions {
  targets?: Targets | undefined;
  /** Wrong answers to hand back with their pictures. */
  show?: number | undefined;
  /** Compares each answer with what another form of the model would have said. */
  agree?: ((question: Question, answer: string) => Promise<Agreement>) | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: EvaluationProgress) => void) | undefined;
}

/** Questions answered, and which ones are being asked. */
export interface EvaluationProgress {
  column: Column;
  topic: string;
  done: number;
  total: number;
}

/** A question as it was answered, without its pictures. */
export interface Answered {
  id: string;
  column: Column;
  topic: string;
  /** The sample's name, which tells its seed. */
  sample: string;
  question: string;
  expected: string;
  got: string;
  score: number;
}

export interface WorldEvaluation {
  rows: Row[];
  /** All that were given, in the order of asking. */
  answers: Answered[];
  /** Questions of the whole evaluation: more than answers, when it was stopped. */
  total: number;
  /** Over all answers; undefined when no other form of the model was asked. */
  agreement: Agreement | undefined;
  /** Wrong ones with what they are about, drawn evenly from all wrong ones. */
  wrong: { answer: Answered; question: WorldQuestion }[];
}

/**
 * Asks the miniature world's questions, one after the other, and counts right answers. Stopped by the signal, it tells
 * of those that were answered.
 * @throws OryxError `aborted` when there are none yet, and what the answerer throws
 */
export async function evaluateWorld(
  world: World,
  answerer: Answerer,
  { targets, show = 0, agree, signal, onProgress, ...options }: EvaluateOptions,
): Promise<WorldEvaluation> {
  const all = rounds(world, options);
  const total = all.length * options.count;
  const scores = new Scores();
  const answers: Answered[] = [];
  const agreement: Agreement = { tokens: 0, same: 0 };
  const wrong = new Draw<{ answer: Answered; question: WorldQuestion }>(show, new Random(options.seed));
  try {
    for (const { column, topic, questions } of all) {
      const at = { column, topic: topic.name };
      onProgress?.({ ...at, done: answers.length, total });
      for await (const { question, got, score } of askAll(questions(), answerer, signal)) {
        const { id, sample, text, expected } = question;
        const answer = { id, ...at, sample: sample.id, question: text, expected, got, score };
        if (agree !== undefined) {
          const { tokens, same } = await agree(question, got);
          agreement.tokens += tokens;
          agreement.same += same;
        }
        scores.add(column, topic, score);
        answers.push(answer);
        if (score < 1) wrong.add({ answer, question });
        onProgress?.({ ...at, done: answers.length, total });
      }
    }
  } catch (error) {
    if (!isAborted(error) || answers.length === 0) throw error;
  }
  return {
    rows: scores.rows(targets),
    answers,
    total,
    agreement: agree && agreement,
    wrong: wrong.drawn,
  };
}

/** Draws some of many that pass by, each as likely as any other, and holds no more than those. */
class Draw<T> {
  readonly drawn: T[] = [];
  readonly #most: number;
  readonly #random: Random;
  #seen = 0;

  constructor(most: number, random: Random) {
    this.#most = most;
    this.#random = random;
  }

  add(item: T): void {
    this.#seen++;
    const place =
      this.drawn.length < this.#most ? this.drawn.length : Math.floor(this.#random.next() * this.#seen);
    if (place < this.#most) this.drawn[place] = item;
  }
}
