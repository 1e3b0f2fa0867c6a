import { describe, expect, it } from "vitest";
import { markdownTable, textTable } from "./text-table.ts";

describe("a table of plain text", () => {
  it("has the first column to the left and the others to the right; rows may be short", () => {
    const rows = [
      ["a", "1.5"],
      ["bcd", "10.25", "x"],
    ];
    expect(textTable(rows)).toBe("a      1.5\nbcd  10.25  x");
  });

  it("counts characters, not the units of a string", () => {
    const rows = [
      ["\u{1F4C4}", "1"],
      ["ab", "23"],
    ];
    expect(textTable(rows)).toBe("\u{1F4C4}    1\nab  23");
  });

  it("is nothing without rows", () => {
    expect(textTable([])).toBe("");
  });
});

describe("a table in Markdown", () => {
  it("has a rule below its head, and a cell in every column", () => {
    const rows = [["", "right"], ["all", "12"], ["- of films"]];
    expect(markdownTable(rows)).toBe(
      [
        "|            | right |", //
        "|------------|-------|",
        "| all        | 12    |",
        "| - of films |       |",
      ].join("\n"),
    );
  });
});
