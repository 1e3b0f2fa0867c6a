import { OryxError } from "../../core/errors.ts";
import { Random } from "../../core/random.ts";
import { type FoundMedia, type MediaFiles, mediaKey } from "./media-files.ts";
import { isLabelled, type SetQuestion } from "./question.ts";

/** A question with its media found. */
export interface ReadyQuestion {
  question: SetQuestion;
  media: readonly FoundMedia[];
}

/** A question whose media are not there, or not clear. */
export interface MissingMedia {
  id: string;
  name: string;
  why: "missing" | "several";
}

export interface SetPlanOptions {
  /** Questions at most. */
  limit?: number | undefined;
  /** Takes them in another order, or others of them; without it, the first ones. */
  shuffleSeed?: number | undefined;
  /** Ask those as well whose right answer is not known. */
  unscored?: boolean | undefined;
}

/** What will be asked. */
export interface SetPlan {
  /** In the order of asking: those about the same media come one after another, which caches make use of. */
  asked: ReadyQuestion[];
  missing: MissingMedia[];
  /** Questions that are left out because nobody knows what is right. */
  unlabelled: number;
  /** Different images, videos or lists of them that are asked about. */
  media: number;
}

/** Chooses what is asked, and in which order. */
export function planSet(
  questions: readonly SetQuestion[],
  files: MediaFiles,
  { limit, shuffleSeed, unscored = false }: SetPlanOptions,
): SetPlan {
  const scored = unscored ? questions : questions.filter(isLabelled);
  const missing: MissingMedia[] = [];
  const ready: ReadyQuestion[] = [];
  for (const question of scored) {
    const found = question.media.map((name) => ({ name, file: files.get(mediaKey(name)) }));
    const lack = found.find(({ file }) => file === undefined || file === "several");
    if (lack === undefined) ready.push({ question, media: found.map(({ file }) => file as FoundMedia) });
    else {
      const why = lack.file === undefined ? "missing" : "several";
      missing.push({ id: question.id, name: lack.name.name, why });
    }
  }
  const drawn = (shuffleSeed === undefined ? ready : shuffled(ready, shuffleSeed)).slice(0, limit);
  const groups = byMedia(drawn);
  return {
    asked: [...groups.values()].flat(),
    missing,
    unlabelled: questions.length - scored.length,
    media: groups.size,
  };
}

/** Which media a question is about, as one text. */
export const mediaOf = ({ question, media }: ReadyQuestion): string =>
  JSON.stringify(media.map(({ path }, i) => [path, question.media[i]?.part]));

function byMedia(questions: readonly ReadyQuestion[]): Map<string, ReadyQuestion[]> {
  const groups = new Map<string, ReadyQuestion[]>();
  for (const ready of questions) {
    const key = mediaOf(ready);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [ready]);
    else group.push(ready);
  }
  return groups;
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], seed: number): T[] {
  const random = new Random(seed);
  const all = [...items];
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [all[i], all[j]] = [all[j] as T, all[i] as T];
  }
  return all;
}

/** @param leftOut what was left out, for the message. @throws OryxError `questions_invalid` when nothing would be asked */
export function requireQuestions({ asked, missing, unlabelled }: SetPlan, leftOut: readonly string[]): void {
  if (asked.length > 0) return;
  const remedy =
    missing.length > 0 || unlabelled === 0
      ? "name the folder of its media with --media"
      : "give --unscored to ask nevertheless";
  throw new OryxError("questions_invalid", `there is nothing to ask: ${leftOut.join("; ")}`, remedy);
}
