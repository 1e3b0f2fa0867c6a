import { letterOf } from "../../text/choice.ts";

/** Options without "A. ", "(A) " or "A) " before them, when each has its own. */
export function withoutLetters(options: readonly string[]): string[] {
  const bare = options.map((option, i) => {
    return new RegExp(`^\\s*(?:\\(${letterOf(i)}\\)|${letterOf(i)}[.):])\\s*(\\S.*)$`, "s").exec(option)?.[1];
  });
  return bare.every((option) => option !== undefined) ? (bare as string[]) : options.map((o) => o.trim());
}

/** How a set writes which option is right. */
export type AnswerForm = "any" | "number" | "letter";

/**
 * Which option a set's own answer is.
 * @param written the options as the set writes them; `options` are without letters
 * @param form "number" or "letter": it is the option's number from 0, or its letter, even where that is another
 *   option's text; "any": its text, its letter or its number, the first of these that there is
 */
export function choiceIndex(
  answer: string,
  written: readonly string[],
  options: readonly string[],
  form: AnswerForm,
): number | undefined {
  const inside = (index: number) => (index >= 0 && index < options.length ? index : undefined);
  const number = /^\d+$/.test(answer.trim()) ? inside(Number(answer)) : undefined;
  if (form === "number") return number;
  const letter = /^\s*\(?([A-Z])[.):]?\s*$/.exec(answer)?.[1];
  const named = letter === undefined ? undefined : inside(letter.charCodeAt(0) - 65);
  if (form === "letter") return named;
  const text = [written.indexOf(answer), options.indexOf(answer.trim())].find((index) => index >= 0);
  if (text !== undefined) return text;
  return named ?? number;
}
