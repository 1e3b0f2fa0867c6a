/** Tables of plain text, columns as wide as their widest cell. Rows may lack cells at their end. */

/** The first column aligned to the left, the others, which are figures mostly, to the right. */
export function textTable(rows: readonly (readonly string[])[]): string {
  const widths = widthsOf(rows);
  const cell = (text: string, c: number) => (c === 0 ? padEnd : padStart)(text, widths[c] as number);
  return rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}

/** The same as aligned Markdown. The first row is the head. Cells must have neither line ends nor bars. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const widths = widthsOf(rows).map((width) => Math.max(3, width));
  const line = (row: readonly string[]) =>
    `| ${widths.map((width, c) => padEnd(row[c] ?? "", width)).join(" | ")} |`;
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  const [head = "", ...body] = rows.map(line);
  return [head, rule, ...body].join("\n");
}

function widthsOf(rows: readonly (readonly string[])[]): number[] {
  const count = Math.max(0, ...rows.map((row) => row.length));
  return Array.from({ length: count }, (_, c) => Math.max(...rows.map((row) => lengthOf(row[c] ?? ""))));
}

/** Characters, of which some take two of a string's units. */
const lengthOf = (text: string): number => [...text].length;
const padEnd = (text: string, width: number): string => text + " ".repeat(width - lengthOf(text));
const padStart = (text: string, width: number): string => " ".repeat(width - lengthOf(text)) + text;
