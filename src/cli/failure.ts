import { OryxError } from "../core/errors.ts";

/** A call that makes no sense: the arguments are to blame. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly remedy: string;

  constructor(problem: string, remedy: string) {
    super(problem);
    this.remedy = remedy;
  }
}

/** Told after Ctrl-C where what was done is kept. */
export const GO_ON = "stopped; give the same command again to go on";

/** What is told of an error, and what the command exits with: 1 failed, 2 was called wrongly, 130 was interrupted. */
export interface Failure {
  code: string;
  message: string;
  remedy: string;
  exitCode: number;
}

/** Exit codes of the errors for which it is not 1. */
const EXIT_CODES: Readonly<Record<string, number>> = { bad_option: 2, aborted: 130 };

export function failureOf(error: unknown): Failure {
  if (error instanceof OryxError) {
    const { code, message, remedy } = error;
    return { code, message, remedy, exitCode: EXIT_CODES[code] ?? 1 };
  }
  if (error instanceof UsageError) {
    return { code: "usage", message: error.message, remedy: error.remedy, exitCode: 2 };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    code: "internal",
    message,
    remedy: "this is a bug of oryx: run with --debug to see where",
    exitCode: 1,
  };
}

/**
 * Commander says "error: problem", and what to do behind it: after "is invalid." or, in brackets, in a second line.
 * @param call the command whose help tells more
 */
export function usageErrorOf(text: string, call: string): UsageError {
  const [, problem = text, advice, suggestion] =
    /^error: (.*?)(?:(?<=is invalid)\. (.*)|\n\((.*)\))?$/s.exec(text) ?? [];
  return new UsageError(problem, advice ?? suggestion ?? `see ${call} --help`);
}

/** One line, whatever characters the message has. */
export function failureLine({ code, message, remedy }: Failure): string {
  const told = `error[${code}]: ${sentence(message)} ${sentence(remedy.charAt(0).toUpperCase() + remedy.slice(1))}`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: file names and data may hold them
  return told.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ");
}

const sentence = (text: string): string => (/[.?!]$/.test(text) ? text : `${text}.`);

/** The stacks of an error and of what caused it. */
export function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const stack = error.stack ?? error.message;
  return error.cause === undefined ? stack : `${stack}\ncaused by: ${stackOf(error.cause)}`;
}
