/**
 * Cuts a word where byte-pair encoding can never join, so that its pieces, encoded one by one, give exactly the
 * tokens of the whole. Encoders slow down faster than their input grows, and a tokenizer without pre-tokenizer
 * (Yi's) takes a whole prompt as one word.
 *
 * Why it is exact: every join makes a token of the merge list. If no such token holds the characters `ab` side by
 * side, then no join reaches over a place between an `a` and a `b`, and the two sides cannot influence each other.
 */
export type WordSplitter = (word: string) => string[];

/**
 * @param merges every pair that may be joined.
 * @param wholeUpTo words of at most this many UTF-16 units stay whole.
 */
export function createWordSplitter(
  merges: readonly (readonly [string, string])[],
  wholeUpTo: number,
): WordSplitter {
  const neighbours = new Set<number>();
  for (const [left, right] of merges) {
    // Pairs inside `left` and `right` come from the merges that made those.
    neighbours.add(pairKey(lastCodePoint(left), right.codePointAt(0)!));
  }
  return (word) => {
    if (word.length <= wholeUpTo) return [word];
    const pieces: string[] = [];
    let start = 0;
    let previous = -1;
    for (let i = 0; i < word.length; ) {
      const code = word.codePointAt(i)!;
      if (previous >= 0 && !neighbours.has(pairKey(previous, code))) {
        pieces.push(word.slice(start, i));
        start = i;
      }
      previous = code;
      i += code > 0xffff ? 2 : 1;
    }
    pieces.push(word.slice(start));
    return pieces;
  };
}

const CODE_POINTS = 0x110000;

function pairKey(left: number, right: number): number {
  return left * CODE_POINTS + right;
}

function lastCodePoint(text: string): number {
  const last = text.charCodeAt(text.length - 1);
  const isLowSurrogate = last >= 0xdc00 && last <= 0xdfff && text.length > 1;
  return isLowSurrogate ? text.codePointAt(text.length - 2)! : last;
}
