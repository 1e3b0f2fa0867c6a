import { markdownTable } from "../../core/text-table.ts";
import type { Rate } from "../tally.ts";
import type { SetEvaluation } from "./evaluate.ts";
import type { SetPlan } from "./plan.ts";
import type { QuestionSet } from "./read.ts";
import type { Mean, ScoreRow } from "./scores.ts";

/**
 * The scores as aligned Markdown, in percent, with the intervals in which the true ones lie 19 times out of 20. CIDEr is
 * times 100 as well, as papers give it.
 */
export function setTable(rows: readonly ScoreRow[]): string {
  const hasChoices = rows.some(({ choice }) => choice);
  const hasOpen = rows.some(({ open }) => open);
  const head = ["", "questions"];
  if (hasChoices) head.push("right", "by chance");
  if (hasOpen) head.push("exact", "F1", "ROUGE-L", "CIDEr");
  const lines: string[][] = [];
  let way: string | undefined;
  for (const row of rows) {
    if (row.category !== undefined && row.category.way !== way) {
      way = row.category.way;
      lines.push([way, ...head.slice(1).map(() => "")]);
    }
    const { choice, open } = row;
    const questions = (choice?.accuracy.questions ?? 0) + (open?.exact.questions ?? 0);
    lines.push([
      row.category === undefined ? "all" : `- ${oneLine(row.category.value)}`,
      String(questions),
      ...(hasChoices ? [choice ? rate(choice.accuracy) : "", choice ? percent(choice.chance) : ""] : []),
      ...(hasOpen
        ? [
            open ? rate(open.exact) : "",
            ...[open?.f1, open?.rougeL, open?.cider].map((m) => (m ? mean(m) : "")),
          ]
        : []),
    ]);
  }
  return markdownTable([head, ...lines]);
}

/** Sentences about what will be asked; names at most a few of what is missing. */
export function planLines(set: QuestionSet, plan: SetPlan, mediaFolder: string): string[] {
  const titles = [...new Set(set.files.map(({ layout }) => layout.title))].join(", ");
  const choices = plan.asked.filter(({ question }) => question.kind === "choice").length;
  const open = plan.asked.length - choices;
  const kinds = [
    ...(choices > 0 ? [`${choices} multiple choice`] : []),
    ...(open > 0 ? [`${open} open`] : []),
  ];
  return [
    `${titles}: ${set.questions.length} questions in ${set.files.length} ${set.files.length === 1 ? "file" : "files"}`,
    `asked: ${plan.asked.length}${kinds.length > 0 ? ` (${kinds.join(", ")})` : ""} about ${plan.media} media`,
    ...leftOutLines(set, plan, mediaFolder),
  ];
}

/** Sentences about what will not be asked, and why. */
export function leftOutLines(set: QuestionSet, plan: SetPlan, mediaFolder: string): string[] {
  const lines: string[] = [];
  if (set.leftOut.length > 0) lines.push(`files without questions: ${few(set.leftOut)}`);
  if (plan.unlabelled > 0) lines.push(`left out, as their answers are not known: ${plan.unlabelled}`);
  for (const why of ["missing", "several"] as const) {
    const names = plan.missing.filter((one) => one.why === why).map(({ name }) => name);
    if (names.length === 0) continue;
    const what = why === "missing" ? "no media" : "several media of one name";
    lines.push(`left out, ${what} below ${mediaFolder}: ${names.length} (${few([...new Set(names)])})`);
  }
  return lines;
}

/** What the table leaves out. */
export function outcomeLines({ rows, failed }: SetEvaluation): string[] {
  const unclear = rows[0]?.choice?.unclear ?? 0;
  return [
    ...(unclear > 0 ? [`answers that name no option, or several, and count as wrong: ${unclear}`] : []),
    ...(failed.length > 0
      ? [`failed, and not counted: ${failed.length} (${few(failed.map(({ id, code }) => `${id}: ${code}`))})`]
      : []),
  ];
}

const SHOWN = 5;

const few = (names: readonly string[]): string =>
  names.slice(0, SHOWN).map(oneLine).join(", ") + (names.length > SHOWN ? ", ..." : "");

const rate = ({ rate: share, low, high }: Rate): string =>
  `${percent(share)} (${percent(low)} to ${percent(high)})`;

const mean = ({ mean: value, low, high }: Mean): string =>
  low === undefined || high === undefined
    ? percent(value)
    : `${percent(value)} (${percent(low)} to ${percent(high)})`;

const percent = (share: number): string => (100 * share).toFixed(1);

/** Values come from files: a table's cell has neither line ends nor bars. */
const oneLine = (text: string): string => text.replace(/[\s|]+/g, " ").slice(0, 80);
