/** How a multiple choice is worded. */

/** A for the first option, B for the second. */
export const letterOf = (index: number): string => String.fromCharCode("A".charCodeAt(0) + index);

/** What the published evaluations of Oryx and most others end a multiple choice with. */
export const LETTER_ONLY = "Answer with the option's letter from the given choices directly.";

/** A question with its options behind it, each with its letter. */
export const lettered = (question: string, options: readonly string[]): string =>
  `${question} ${options.map((option, i) => `${letterOf(i)}. ${option}`).join(" ")}`;

/** A question with its options below it, as published evaluations have it, and what is to be done with them. */
export function choicePrompt(
  question: string,
  options: readonly string[],
  instruction: string = LETTER_ONLY,
): string {
  const lines = options.map((option, i) => `${letterOf(i)}. ${option}`);
  return [question, ...lines, ...(instruction === "" ? [] : [instruction])].join("\n");
}
