import { basename, dirname } from "node:path";
import { OryxError, throwIfAborted } from "../../core/errors.ts";
import type { MediaItem } from "../../engine/request.ts";
import type { AnswerLog } from "./answer-log.ts";
import type { Given, SetAnswerer } from "./ask.ts";
import { mediaItem, stateOf } from "./media-files.ts";
import { mediaOf, type ReadyQuestion, type SetPlan } from "./plan.ts";
import { type AnsweredQuestion, measuresOf, type ScoreRow, scoreRows } from "./scores.ts";

export interface EvaluateSetOptions {
  /** Where answers are noted, and found that were given before. */
  log?: AnswerLog | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: SetProgress) => void) | undefined;
}

export interface SetProgress {
  /** Questions done, all in all; and of them, those that were answered now. */
  done: number;
  answered: number;
  total: number;
  /** The question that is asked next. */
  id?: string | undefined;
}

/** A question that could not be answered: its media are damaged, or it does not fit. */
export interface FailedQuestion {
  id: string;
  code: string;
  message: string;
}

export interface SetEvaluation {
  rows: ScoreRow[];
  answered: AnsweredQuestion[];
  failed: FailedQuestion[];
  /** Answers that a log had. */
  resumed: number;
}

/** What is wrong with one question, and not with all of them. */
const OF_ONE_QUESTION = /^(media_|context_exceeded$|budget_exceeded$|prompt_invalid$|bad_option$)/;
/** With so many failures and no answer, it is not the questions. */
const FAILURES_AT_FIRST = 8;

/**
 * Asks what was planned, one question after the other, and scores the answers. A question that fails is named and
 * counted, and asked again when the evaluation goes on from its log.
 * @throws OryxError what the model throws that does not come from one question; `aborted`, `disk`
 */
export async function evaluateSet(
  { asked }: SetPlan,
  answer: SetAnswerer,
  { log, signal, onProgress }: EvaluateSetOptions = {},
): Promise<SetEvaluation> {
  const answered: AnsweredQuestion[] = [];
  const failed: FailedQuestion[] = [];
  let resumed = 0;
  for (const ready of asked) {
    const { question } = ready;
    const noted = log && { log, media: await stateOf(ready.media) };
    const before = noted?.log.given(question, noted.media);
    if (before !== undefined) resumed++;
    const done = answered.length + failed.length;
    onProgress?.({ done, answered: done - resumed, total: asked.length, id: question.id });
    try {
      const given = before ?? (await giveAndNote(ready, answer, noted, signal));
      answered.push({ question, media: mediaOf(ready), given });
    } catch (error) {
      if (!(error instanceof OryxError) || !OF_ONE_QUESTION.test(error.code)) throw error;
      failed.push({ id: question.id, code: error.code, message: error.message });
      if (answered.length === 0 && failed.length === FAILURES_AT_FIRST) throw error;
    }
  }
  onProgress?.({ done: asked.length, answered: asked.length - resumed, total: asked.length });
  return { rows: scoreRows(answered), answered, failed, resumed };
}

async function giveAndNote(
  { question, media }: ReadyQuestion,
  answer: SetAnswerer,
  noted: { log: AnswerLog; media: string } | undefined,
  signal: AbortSignal | undefined,
): Promise<Given> {
  throwIfAborted(signal);
  const items: MediaItem[] = [];
  for (const [i, file] of media.entries()) {
    items.push(await mediaItem(file, question.media[i] ?? { name: file.path }));
  }
  const part = question.media.find((name) => name.part !== undefined)?.part;
  const isCut = media.some(({ path }, i) => isIn(question.media[i]?.cutFolder, path));
  const given = await answer(question, items, { ...(part && !isCut && { part }), signal });
  const right =
    question.kind === "choice" ? { right: question.right ?? null } : { answers: question.answers };
  await noted?.log.note(question, noted.media, given, {
    ...right,
    score: measuresOf(question, given) ?? null,
  });
  return given;
}

/** Whether a file's folder has a name with that ending. */
const isIn = (ending: string | undefined, path: string): boolean =>
  ending !== undefined && basename(dirname(path)).endsWith(ending);
