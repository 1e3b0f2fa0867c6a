/** What is wrong with a CSV text, and on which line. */
export class CsvError extends Error {
  override readonly name = "CsvError";
}

/**
 * Rows of a CSV text as RFC 4180 and Python's csv module write it: fields in quotes may hold commas, line ends and
 * doubled quotes; an empty line is no row.
 * @param most fields of one row
 * @throws CsvError a row with more fields, a quote that is never closed, or text behind a closed one
 */
export function* csvRows(
  text: string,
  most: number,
): Generator<{ line: number; fields: string[] }, void, undefined> {
  let [at, line] = [text.startsWith("\ufeff") ? 1 : 0, 1];
  while (at < text.length) {
    const start = line;
    const fields: string[] = [];
    for (;;) {
      const field = text[at] === '"' ? quoted(text, at, line) : plain(text, at);
      if (fields.length === most) throw new CsvError(`line ${line} has over ${most} fields`);
      fields.push(field.value);
      line += field.lines;
      at = field.end;
      if (text[at] !== ",") break;
      at++;
    }
    if (text[at] === "\r") at++;
    if (text[at] === "\n") at++;
    line++;
    if (fields.length > 1 || fields[0] !== "") yield { line: start, fields };
  }
}

interface Field {
  value: string;
  /** Where what follows it begins: a comma, a line end, or the text's end. */
  end: number;
  /** Line ends inside it. */
  lines: number;
}

const FIELD_END = /[,\r\n]/g;

function plain(text: string, start: number): Field {
  FIELD_END.lastIndex = start;
  const end = FIELD_END.exec(text)?.index ?? text.length;
  return { value: text.slice(start, end), end, lines: 0 };
}

function quoted(text: string, start: number, line: number): Field {
  let close = text.indexOf('"', start + 1);
  while (close >= 0 && text[close + 1] === '"') close = text.indexOf('"', close + 2);
  if (close < 0) throw new CsvError(`line ${line}: a quote is never closed`);
  const end = close + 1;
  if (end < text.length && !/[,\r\n]/.test(text[end] as string)) {
    throw new CsvError(`line ${line}: there is text behind a closing quote`);
  }
  let lines = 0;
  for (let at = text.indexOf("\n", start); at >= 0 && at < close; at = text.indexOf("\n", at + 1)) lines++;
  return { value: text.slice(start + 1, close).replaceAll('""', '"'), end, lines };
}
