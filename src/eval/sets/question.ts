/** A question of a published or self-made set, in the same form whatever file it comes from. */
export type SetQuestion = ChoiceQuestion | OpenQuestion;

interface About {
  /** Names it in tables and logs; no two questions of an evaluation share one. */
  id: string;
  /** What it is about, as its file names it. */
  media: readonly MediaName[];
  text: string;
  /** What it is counted under: the value, or values, in each of some ways of sorting questions. */
  categories: Readonly<Record<string, readonly string[]>>;
}

/** One of several options is right. */
export interface ChoiceQuestion extends About {
  kind: "choice";
  /** Without the letters that some files put before them. */
  options: readonly string[];
  /** The right one, counted from 0; undefined where the set keeps it secret. */
  right: number | undefined;
}

/** Answered in words. */
export interface OpenQuestion extends About {
  kind: "open";
  /** Answers that are right; none where the set keeps them secret. */
  answers: readonly string[];
}

/** An image or video as a file of questions names it. */
export interface MediaName {
  /** A path, or a name that may lack its folder and extension. */
  name: string;
  /** A folder on its path, by which it is told from others of the same name. */
  folder?: string;
  /** The stretch of the video that the question is about, in seconds. */
  part?: { fromS: number; toS: number };
  /** How the names of folders end whose videos were cut to that stretch already. */
  cutFolder?: string;
  /** Pictures a second, for a video that may lie there as a folder of pictures. */
  fps?: number;
}

/** Whether it is known what is right. */
export const isLabelled = (question: SetQuestion): boolean =>
  question.kind === "choice" ? question.right !== undefined : question.answers.length > 0;
