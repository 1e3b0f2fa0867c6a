import { InvalidArgumentError } from "commander";

/** Bounds of a number that an option takes, both included unless `above` excludes the lower one. */
export interface Range {
  from: number;
  to: number;
  whole?: boolean;
  /** The value is above `from`, not equal to it. */
  above?: boolean;
}

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * A parser of an option's value, for commander. Only plain decimal notation counts: no hex, no blanks, no "12px".
 * Commander names the option in front of what this throws.
 */
export function number(range: Range): (text: string) => number {
  return (text) => {
    const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
    const isInside = value <= range.to && (range.above ? value > range.from : value >= range.from);
    if (isInside && (!range.whole || Number.isInteger(value))) return value;
    throw new InvalidArgumentError(`Give ${words(range)}`);
  };
}

export function wholeNumber(from: number, to: number): (text: string) => number {
  return number({ from, to, whole: true });
}

function words({ from, to, whole, above }: Range): string {
  const kind = whole ? "a whole number" : "a number";
  return above ? `${kind} above ${from} and at most ${to}` : `${kind} from ${from} to ${to}`;
}
