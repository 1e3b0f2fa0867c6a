/** Words of an answer, for comparing it with another. */

/** Words in lower case: letters and digits, with the hyphens, apostrophes and points inside them. */
export const words = (text: string): string[] =>
  text.toLowerCase().match(/[\p{L}\p{N}]+(?:[-'’.][\p{L}\p{N}]+)*/gu) ?? [];

const ARTICLES: ReadonlySet<string> = new Set(["a", "an", "the"]);

/** Words without articles, one blank between them; articles alone are an answer ("A"), and stay. */
export function normalised(text: string): string {
  const all = words(text);
  const telling = all.filter((word) => !ARTICLES.has(word));
  return (telling.length > 0 ? telling : all).join(" ");
}

/** Whether an answer is the right one word for word, whatever the case, the articles and the punctuation. */
export const isSameAnswer = (said: string, right: string): boolean => normalised(said) === normalised(right);
