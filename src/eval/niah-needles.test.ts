import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { folderNeedles, worldNeedle } from "./niah-needles.ts";

const CARD = { variant: "single", distractors: 0, heldOut: false } as const;

describe("a card", () => {
  it("knows a card by what is asked about it, whatever its seed is", () => {
    const { id, questions } = worldNeedle(7, CARD);
    const other = worldNeedle(7, { ...CARD, variant: "two" });
    expect(id).toMatch(/^card-7@[0-9a-f]{12}$/);
    expect(worldNeedle(7, CARD).id).toBe(id);
    expect(other.questions).not.toEqual(questions);
    expect(other.id).not.toBe(id);
  });
});

describe("a folder of needles", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "oryx-needles-"));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it.each([
    ["[]", /lacks/],
    ["{", /JSON/],
    ['{"image":"image.png","question":"?"}', /lacks/],
    ['{"image":"image.png","question":"?","answer":" "}', /lacks/],
    ['{"image":"../image.png","question":"?","answer":"x"}', /not in the folder/],
    ['{"image":"image.png","question":"?","answer":"x","distractors":[]}', /0 distractors/],
  ])("is refused with a needle such as %s", async (text, problem) => {
    await writeFile(join(dir, "x.json"), text);
    const reading = folderNeedles(dir, { distractors: text.includes("distractors") ? 1 : 0 });
    await expect(reading).rejects.toMatchObject({
      code: "questions_invalid",
      message: expect.stringMatching(problem),
    });
  });

  it("or an image that is missing is told", async () => {
    const read = () => folderNeedles(dir, { distractors: 0 });
    await expect(read()).rejects.toMatchObject({ code: "questions_invalid" });
    await writeFile(join(dir, "x.json"), '{"image":"no.png","question":"?","answer":"x"}');
    await expect(read()).rejects.toMatchObject({ code: "media_missing" });
    await expect(folderNeedles(join(dir, "no"), { distractors: 0 })).rejects.toMatchObject({
      code: "media_missing",
    });
  });
});
