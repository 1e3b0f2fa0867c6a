import { readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { OryxError, quote } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { shortened } from "../../media/file.ts";
import { isFile } from "../../weights/files.ts";
import { type RecordsFile, readRecords } from "./file.ts";
import { LAYOUTS, type Layout } from "./layouts.ts";
import type { SetQuestion } from "./question.ts";

/** Questions as they stand in one file, or in the files of a folder. */
export interface QuestionSet {
  questions: SetQuestion[];
  files: { path: string; layout: Layout; questions: number }[];
  /** Files of the folder that hold no questions. */
  leftOut: string[];
  /** Where its media may be, unless said otherwise. */
  folder: string;
}

const QUESTION_FILE = /\.(json|jsonl|ndjson|csv)$/i;
const EGO_SCHEMA_ANSWERS = "subset_answers.json";

/**
 * Reads a file of questions, or those of a folder.
 * @param format name of a layout; default: what the records look like
 * @throws OryxError `questions_invalid`: what is there is not read; two questions with one id
 */
export async function readQuestions(path: string, format?: string): Promise<QuestionSet> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const set: QuestionSet = {
    questions: [],
    files: [],
    leftOut: [],
    folder: isFolder ? path : dirname(path),
  };
  for (const file of isFolder ? await questionFiles(path) : [path]) {
    const records = await readRecords(file);
    const layout = layoutOf(records, format);
    if (layout !== undefined) await take(set, records, layout);
    else if (isFolder) set.leftOut.push(file);
    else throw unknown(file, format);
  }
  if (set.questions.length === 0) throw unknown(path, format);
  checkIds(set.questions);
  return set;
}

async function questionFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder).catch((cause: unknown) => {
    throw invalid(`${shortened(folder)} cannot be read`, "check its permissions", cause);
  });
  const names = entries.filter((name) => QUESTION_FILE.test(name));
  if (names.length > 0 && names.length <= LIMITS.questionFiles) {
    return names.sort().map((name) => join(folder, name));
  }
  const problem =
    names.length === 0
      ? "no file of questions"
      : `${names.length} files, ${LIMITS.questionFiles} are allowed`;
  throw invalid(`${shortened(folder)} has ${problem}`, "give the file or folder that has the questions");
}

/** The layout of a file by its first record, or as asked for; undefined when it is none. */
function layoutOf({ records }: RecordsFile, format: string | undefined): Layout | undefined {
  if (format !== undefined) return LAYOUTS.find(({ name }) => name === format);
  const [first] = records;
  return first && LAYOUTS.find(({ suits }) => suits(first));
}

async function take(set: QuestionSet, { path, records }: RecordsFile, layout: Layout): Promise<void> {
  const answers = layout.name === "egoschema" ? await answersBeside(path) : new Map<string, string>();
  const file = basename(path, extname(path));
  const before = set.questions.length;
  for (const [number, record] of records.entries()) {
    for (const question of layout.questions(record, { file, number, answers })) set.questions.push(question);
    if (set.questions.length > LIMITS.questionsPerSet) {
      throw invalid(`there are over ${LIMITS.questionsPerSet} questions`, "give fewer files at a time");
    }
  }
  set.files.push({ path, layout, questions: set.questions.length - before });
}

/** EgoSchema's public answers, when they lie beside its questions. */
async function answersBeside(path: string): Promise<ReadonlyMap<string, string>> {
  const file = join(dirname(path), EGO_SCHEMA_ANSWERS);
  if (!(await isFile(file))) return new Map();
  const { records } = await readRecords(file);
  return new Map(records.flatMap((record) => record.names.map((id) => [id, record.text(id)] as const)));
}

function checkIds(questions: readonly SetQuestion[]): void {
  const seen = new Set<string>();
  for (const { id } of questions) {
    if (seen.has(id)) throw invalid(`two questions are called ${quote(id)}`, "give each an id of its own");
    seen.add(id);
  }
}

function unknown(path: string, format: string | undefined): OryxError {
  const names = LAYOUTS.map(({ name }) => name).join(", ");
  const what = format === undefined ? "the layout of its questions is not known" : "it has no questions";
  return invalid(`${shortened(path)}: ${what}`, `say which it is with --format: ${names}`);
}

const invalid = (problem: string, remedy: string, cause?: unknown) =>
  new OryxError("questions_invalid", problem, remedy, { cause });
