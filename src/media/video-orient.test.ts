import { describe, expect, it } from "vitest";
import { atOnce } from "./steps.ts";
import { orient } from "./video-orient.ts";

/** A picture of grey levels, one string per row. */
function picture(...rows: string[]) {
  const levels = rows.join("").split("").map(Number);
  return {
    width: rows[0]!.length,
    height: rows.length,
    data: Uint8Array.from(levels.flatMap((level) => [level, level, level])),
  };
}

describe("orient", () => {
  const stored = picture("123", "456");

  it.each([
    [0, false, picture("123", "456")],
    [90, false, picture("41", "52", "63")],
    [180, false, picture("654", "321")],
    [270, false, picture("36", "25", "14")],
    [0, true, picture("321", "654")],
    [90, true, picture("14", "25", "36")],
  ])("turns %i degrees clockwise, mirrored: %s", (rotation, mirrored, shown) => {
    expect(atOnce(orient(stored, { rotation, mirrored }))).toEqual(shown);
  });
});
