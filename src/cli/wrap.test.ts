import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RecordedIo } from "../../test/support/recorded-io.ts";
import { Shell } from "./shell.ts";
import { StatusLine } from "./status-line.ts";
import { fitted, wrap } from "./wrap.ts";

const words = fc.array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1, maxLength: 30 });

describe("wrapping", () => {
  it("changes only blanks, and no line is longer unless it is one word", () => {
    fc.assert(
      fc.property(words, fc.integer({ min: 5, max: 40 }), (list, columns) => {
        const lines = wrap(list.join(" "), columns).split("\n");
        expect(lines.join(" ")).toBe(list.join(" "));
        for (const line of lines) expect(line.length <= columns || !line.includes(" ")).toBe(true);
      }),
    );
  });

  it("fills lines as far as words go", () => {
    expect(wrap("aa bb cc dd", 5)).toBe("aa bb\ncc dd");
    expect(wrap("a-long-path b c", 5)).toBe("a-long-path\nb c");
  });

  it("leaves commands to copy, and what is written to a file", () => {
    expect(wrap("see:\n  oryx ask a b c", 8)).toBe("see:\n  oryx ask a b c");
    expect(wrap("a b c d e", undefined)).toBe("a b c d e");
  });

  it("is done for notes and errors on a terminal only", () => {
    const told = (terminal: boolean) => {
      const io = new RecordedIo({ terminal, columns: 20 });
      new Shell([], io).note("note: the weights are random");
      return io.err;
    };
    expect(told(true)).toBe("note: the weights\nare random\n");
    expect(told(false)).toBe("note: the weights are random\n");
  });
});

describe("a line on a narrow terminal", () => {
  it("loses whole parts, or ends in dots", () => {
    expect(fitted("decode 3 of 4 · 8 s left", 30)).toBe("decode 3 of 4 · 8 s left");
    expect(fitted("decode 3 of 4 · 8 s left", 20)).toBe("decode 3 of 4");
    expect(fitted("decode 3 of 4 · 8 s left", 8)).toBe("decode …");
  });

  it("never fills the last column, which would wrap", () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[a-z ]{0,20}$/)),
        fc.integer({ min: 2, max: 60 }),
        (parts, columns) => {
          const io = new RecordedIo({ terminal: true, columns });
          new StatusLine(io.stderr, true).show(parts.join(" · "));
          expect(io.err.replace("\r\x1b[2K", "").length).toBeLessThan(columns);
        },
      ),
    );
  });
});
