/** The columns of a terminal; undefined for a file or a pipe, whose reader breaks lines for itself. */
export function columnsOf(stream: { isTTY?: boolean; columns?: number }): number | undefined {
  return stream.isTTY === true ? (stream.columns ?? 80) : undefined;
}

/**
 * Breaks lines that are longer than `columns` at blanks. A word that is longer than a line stays whole, as a path
 * would be no path any more, and so do indented lines, which are commands to copy.
 * @param columns undefined: the text stays as it is
 */
export function wrap(text: string, columns: number | undefined): string {
  if (columns === undefined) return text;
  return text
    .split("\n")
    .flatMap((line) => brokenLine(line, columns))
    .join("\n");
}

function brokenLine(line: string, columns: number): string[] {
  if (line.length <= columns || line.startsWith(" ")) return [line];
  const lines: string[] = [];
  let open = "";
  for (const word of line.split(" ")) {
    if (open !== "" && open.length + 1 + word.length > columns) {
      lines.push(open);
      open = word;
    } else {
      open = open === "" ? word : `${open} ${word}`;
    }
  }
  return [...lines, open];
}

/** What fits of a text whose parts " · " divides: the first parts, or as much of the first as leaves room for "…". */
export function fitted(text: string, columns: number): string {
  if (text.length <= columns) return text;
  const end = text.lastIndexOf(" · ", columns);
  return end > 0 ? text.slice(0, end) : `${text.slice(0, Math.max(0, columns - 1))}…`;
}
