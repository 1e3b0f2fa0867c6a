import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Modality } from "../model/visual.ts";
import { lettered, letterOf } from "../text/choice.ts";

/** What can be asked for by name, beside a question of one's own. */
export const TASKS = ["summarize", "describe", "mcq", "steps"] as const;
export type Task = (typeof TASKS)[number];

/** The part of a request that says what is asked. */
export interface Asked {
  /** May be left out where the task has one: "summarize", "describe" and "steps". */
  question?: string | undefined;
  /** What the answer is to be; default: whatever the question asks for. */
  task?: Task | undefined;
  /** The texts to choose from, for the task "mcq". */
  options?: readonly string[] | undefined;
}

/** @throws OryxError `bad_option`, `prompt_invalid` */
export function checkTask({ question = "", task, options = [] }: Asked): void {
  if (task !== "mcq" && options.length > 0) {
    throw new OryxError("bad_option", "options are given, but nothing to choose", 'ask for the task "mcq"');
  }
  if (task === "mcq") checkOptions(options);
  if (question.trim() === "" && (task === undefined || task === "mcq")) {
    throw new OryxError("prompt_invalid", "the question is empty", "ask something");
  }
}

function checkOptions(options: readonly string[]): void {
  const most = LIMITS.optionsPerQuestion;
  if (options.length < 2 || options.length > most) {
    const problem = options.length === 1 ? "there is one option" : `there are ${options.length} options`;
    throw new OryxError("bad_option", problem, `give 2 to ${most} to choose from (--option, options)`);
  }
  if (options.some((option) => plain(option) === "")) {
    throw new OryxError("bad_option", "an option is empty", "give each a text");
  }
  if (new Set(options.map(plain)).size < options.length) {
    throw new OryxError("bad_option", "two options are the same", "give each once");
  }
}

/**
 * The question as the model is asked it. The words are the paper's examples and those of oryx-tiny's training.
 * @param shown modalities of the media that go with it
 */
export function taskQuestion(
  { question = "", task, options = [] }: Asked,
  shown: readonly Modality[],
): string {
  const own = question.trim();
  switch (task) {
    case "summarize":
      return `Summarise ${nounOf(shown)}.${own && ` ${own}`}`;
    case "describe": {
      const isImages = shown.length > 0 && shown.every((modality) => modality === "image");
      return `Describe ${nounOf(shown)}${isImages ? " in detail" : ""}.${own && ` ${own}`}`;
    }
    case "mcq":
      return lettered(
        own,
        options.map((option) => option.trim()),
      );
    case "steps":
      if (own === "") return "What are the steps?";
      return /[?.!]$/.test(own) ? own : `How do you ${own}?`;
    case undefined:
      return question;
  }
}

function nounOf(shown: readonly Modality[]): string {
  const images = shown.filter((modality) => modality === "image").length;
  const videos = shown.length - images;
  const nouns = [
    ...(images > 0 ? [images === 1 ? "image" : "images"] : []),
    ...(videos > 0 ? [videos === 1 ? "video" : "videos"] : []),
  ];
  return nouns.length > 0 ? `the ${nouns.join(" and ")}` : "what was shown";
}

/** What an answer to a task says; `unparsed`: why it cannot be said, as the model's words do not tell. */
export type TaskResult =
  | { task: "summarize" | "describe"; text: string }
  | { task: "mcq"; letter: string; option: string; reason: string | null }
  | { task: "steps"; steps: string[] }
  | { task: Task; unparsed: string };

/** Reads the answer to a task. What it does not say is not made up. */
export function taskResult(task: Task, text: string, options: readonly string[] = []): TaskResult {
  if (plain(text) === "") return { task, unparsed: "the answer is empty" };
  switch (task) {
    case "mcq":
      return readChoice(text, options);
    case "steps":
      return readSteps(text);
    default:
      return { task, text: text.trim() };
  }
}

// ---------------------------------------------------------------------------------------- multiple choice

/** "The answer is", "Correct answer:", "Option": what may stand before the choice itself. */
const OPENING =
  /^(?:(?:so|therefore|thus)\b,?\s*)?(?:(?:my|the)\s+)?(?:(?:correct|right|best|final)\s+)?(?:(?:answer|choice|option)\b\s*(?:is\b)?\s*[:=]?\s*)?(?:option\b\s*)?/i;

/** A letter that stands for an option: "B", "B.", "(b)", "[B]:", and what follows it. "A red star" begins with none. */
const LETTER = /^(?:[([]\s*([a-z])\s*[)\]]|([a-z])(?=$|\s*[.):,;\n]|\s+[-–—]|\s+(?:because|or|and)\b))\s*/i;

/** Further letters beside the first: "A or B", "A, C", "A and B". */
const SECOND = /^(?:,|\/|&|\bor\b|\band\b)+\s*[([]?([A-Z])[)\]]?(?=$|[\s.,;:)])/;

function readChoice(text: string, options: readonly string[]): TaskResult {
  const unparsed = (why: string): TaskResult => ({ task: "mcq", unparsed: why });
  const opened = bare(text).replace(OPENING, "");
  const isAnnounced = opened.length < bare(text).length;
  const match = LETTER.exec(opened) ?? (isAnnounced ? /^()([A-Z])(?=$|\s)\s*/.exec(opened) : null);
  if (match === null) {
    const named = optionAtStart(opened, options);
    if (named === undefined) {
      const concluded = letterAtEnd(bare(text));
      return concluded === undefined
        ? unparsed("the answer names none of the options")
        : ofLetter(concluded.letter, concluded.reasons, options);
    }
    return chosen(named, afterOption(opened, options[named] as string), options);
  }
  const letter = match[1] || (match[2] as string);
  const rest = opened.slice(match[0].length);
  if (SECOND.test(rest)) return unparsed("the answer names several options");
  return ofLetter(letter, withoutLead(rest), options);
}

/** @param said what is said besides: the option's text, reasons, both or nothing */
function ofLetter(letter: string, said: string, options: readonly string[]): TaskResult {
  const unparsed = (why: string): TaskResult => ({ task: "mcq", unparsed: why });
  const index = letter.toUpperCase().charCodeAt(0) - "A".charCodeAt(0);
  const name = `the answer names option ${letterOf(index)}`;
  if (index >= options.length)
    return unparsed(`${name}, but the last one is ${letterOf(options.length - 1)}`);
  const named = optionAtStart(said, options);
  if (named !== undefined && named !== index)
    return unparsed(`${name}, but quotes option ${letterOf(named)}`);
  return chosen(index, named === undefined ? said : afterOption(said, options[named] as string), options);
}

/** "The star is blue, so B.", "It shines; therefore the answer is (B)": reasons, then a letter and no more. */
function letterAtEnd(text: string): { letter: string; reasons: string } | undefined {
  const [, reasons = "", end = ""] =
    /^(.+)[,;.]\s*(?:so|therefore|thus|hence)\b,?\s+(.+)$/is.exec(text) ?? [];
  const opened = end.replace(OPENING, "");
  const [whole, bracketed, plainly] = LETTER.exec(opened) ?? [];
  const letter = bracketed ?? plainly;
  if (whole === undefined || letter === undefined) return undefined;
  return withoutLead(opened.slice(whole.length)) === "" ? { letter, reasons } : undefined;
}

function chosen(index: number, rest: string, options: readonly string[]): TaskResult {
  const reason = withoutLead(rest).replace(/^because\b[\s,:]*/i, "");
  return {
    task: "mcq",
    letter: letterOf(index),
    option: options[index] as string,
    reason: reason === "" ? null : reason,
  };
}

/** The option with whose whole text a text begins; the longest where several do. */
function optionAtStart(text: string, options: readonly string[]): number | undefined {
  const words = plain(text);
  const found = options
    .map((option, index) => ({ option: plain(option), index }))
    .filter(
      ({ option }) =>
        words === option ||
        (words.startsWith(option) && /^(?:[.,;:!)]|\s+because\b|\s+[-–—])/.test(words.slice(option.length))),
    )
    .sort((a, b) => b.option.length - a.option.length);
  return found[0]?.index;
}

/** What follows an option's text, whatever articles and case it is quoted with. */
function afterOption(text: string, option: string): string {
  const pattern = plain(option).split(" ").map(escaped).join("\\s+(?:(?:an?|the)\\s+)?");
  return text.replace(new RegExp(`^["'“]?(?:(?:an?|the)\\s+)?${pattern}["'”]?`, "i"), "");
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

const withoutLead = (text: string): string => text.replace(/^[\s.):,;\]–—-]+/, "").trim();

/** Without the marks with which models set words apart. */
const bare = (text: string): string => text.replace(/[*_`#]+/g, "").trim();

/** Lower case, single blanks, without articles, quotes and a full stop: how texts are compared. */
const plain = (text: string): string =>
  bare(text)
    .toLowerCase()
    .replace(/["'“”]/g, "")
    .replace(/\s+/g, " ")
    .replace(/(^| )(?:an?|the) (?=.)/g, "$1")
    .replace(/[\s.!]+$/, "")
    .trim();

// -------------------------------------------------------------------------------------------------- steps

/** "1.", "2)", "Step 3:" at the beginning of a line or after a blank, with words behind it. */
const NUMBERED = /(?<=^|\s)(?:step\s*)?(\d{1,3})\s*[.):]\s+(?=\S)/gi;
const BULLET = /^\s*(?:[-*•]|step\b:?)\s+/i;

function readSteps(text: string): TaskResult {
  const clean = text.replace(/[*_`#]{2,}/g, "").trim();
  const unparsed = (why: string): TaskResult => ({ task: "steps", unparsed: why });
  const marks = [...clean.matchAll(NUMBERED)].map((match) => ({
    number: Number(match[1]),
    from: match.index,
    to: match.index + match[0].length,
  }));
  const taken: typeof marks = [];
  for (const mark of marks) if (mark.number === taken.length + 1) taken.push(mark);
  if (taken.length === 0) {
    const bullets = clean.split("\n").filter((line) => BULLET.test(line));
    if (bullets.length === 0) return unparsed("the answer is no list of steps");
    return { task: "steps", steps: bullets.map((line) => line.replace(BULLET, "").trim()) };
  }
  // A number that leads on from none is part of a step's words, unless it comes last: then one is missing.
  const last = taken.at(-1) as (typeof marks)[number];
  if (marks.some(({ from, number }) => from > last.from && number > last.number)) {
    return unparsed("its steps are not numbered one after the other");
  }
  const steps = taken.map(({ to }, i) => clean.slice(to, taken[i + 1]?.from).trim());
  return { task: "steps", steps };
}
