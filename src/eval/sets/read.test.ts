import { mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OryxError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { readQuestions } from "./read.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "oryx-sets-"));
});
afterAll(() => rm(dir, { recursive: true }));

async function file(name: string, content: string | object): Promise<string> {
  const path = join(dir, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

async function read(name: string, content: string | object, format?: string) {
  const set = await readQuestions(await file(name, content), format);
  return { format: set.files[0]?.layout.name, questions: set.questions };
}

/** The layouts are real, the contents are made up. */
describe("a file of questions", () => {
  it("is Video-MME as rows, whose options have letters", async () => {
    const row = {
      video_id: "001",
      duration: "short",
      domain: "Knowledge",
      sub_category: "Law",
      url: "https://example.org/x",
      videoID: "aB_c-d",
      question_id: "001-1",
      task_type: "OCR Problems",
      question: "What is on the sign?",
      options: ["A. Stop.", "B. Go.", "C. Turn.", "D. Wait."],
      answer: "B",
    };
    expect(await read("videomme.json", [row])).toEqual({
      format: "video-mme",
      questions: [
        {
          kind: "choice",
          id: "001-1",
          media: [{ name: "aB_c-d" }],
          text: "What is on the sign?",
          options: ["Stop.", "Go.", "Turn.", "Wait."],
          right: 1,
          categories: {
            duration: ["short"],
            domain: ["Knowledge"],
            subcategory: ["Law"],
            task: ["OCR Problems"],
          },
        },
      ],
    });
    const lines = `${JSON.stringify(row)}\n${JSON.stringify({ ...row, question_id: "001-2" })}\n`;
    expect((await read("videomme.txt", lines)).questions.map(({ id }) => id)).toEqual(["001-1", "001-2"]);
  });

  it("is Video-MME, whose answers are letters even where options are letters as well", async () => {
    const asked = { videoID: "x", question_id: "1", question: "Which key is pressed?", answer: "A" };
    const row = { ...asked, options: ["A. B", "B. D", "C. A", "D. C"] };
    const { questions } = await read("keys.json", [row]);
    expect(questions).toMatchObject([{ options: ["B", "D", "A", "C"], right: 0 }]);
  });

  it("is Video-MME with the questions inside each video", async () => {
    const asked = { question_id: "7-1", task_type: "Counting", question: "How many?", answer: "A" };
    const video = { video_id: "7", duration_category: "long", video_category: "Sport", url: "" };
    const { format, questions } = await read("template.json", [
      { ...video, questions: [{ ...asked, choices: ["A. One.", "B. Two."] }] },
    ]);
    expect(format).toBe("video-mme");
    expect(questions).toMatchObject([
      { id: "7-1", media: [{ name: "7" }], right: 0, categories: { duration: ["long"], domain: ["Sport"] } },
    ]);
  });

  it("is MLVU, multiple choice or open, with or without answers", async () => {
    const about = { video: "needle_3.mp4", duration: 467.9, question: "What opens?" };
    const { format, questions } = await read("2_needle.json", [
      { ...about, candidates: ["a door", "a box"], answer: "a box", question_type: "findNeedle" },
      { ...about, answer: "A box opens.", question_type: "subPlot" },
      { ...about, candidates: ["a door", "a box"], question_type: "findNeedle", question_id: "N_0" },
    ]);
    expect(format).toBe("mlvu");
    expect(questions).toMatchObject([
      { kind: "choice", id: "2_needle/1", right: 1, categories: { task: ["findNeedle"] } },
      { kind: "open", answers: ["A box opens."], categories: { task: ["subPlot"] } },
      { kind: "choice", id: "N_0", right: undefined },
    ]);
  });

  it("is MVBench, whose file names the task, and says which stretch is meant", async () => {
    const { format, questions } = await read("action_sequence.json", [
      {
        video: "ZS9XR.mp4",
        question: "What happened first?",
        candidates: ["sat", "stood"],
        answer: "stood",
        start: 11.1,
        end: 19.6,
      },
      { video: "T.mp4", question: "And then?", candidates: ["sat", "stood"], answer: "sat" },
    ]);
    expect(format).toBe("mvbench");
    expect(questions).toMatchObject([
      {
        id: "action_sequence/1",
        media: [{ name: "ZS9XR.mp4", folder: "star", part: { fromS: 11.1, toS: 19.6 } }],
        right: 1,
        categories: { task: ["action_sequence"] },
      },
      { media: [{ name: "T.mp4", folder: "star" }] },
    ]);
    expect(questions[1]?.media[0]).not.toHaveProperty("part");
  });

  it("is NExT-QA as CSV, multiple choice or open", async () => {
    const head = "video,frame_count,width,height,question,answer,qid,type";
    const choice = `${head},a0,a1,a2,a3,a4\n123,36,640,480,"why, then",3,6,CW,a,b,c,"d, e",f\n`;
    expect(await read("val.csv", choice)).toEqual({
      format: "next-qa",
      questions: [
        {
          kind: "choice",
          id: "123_6",
          media: [{ name: "123" }],
          text: "why, then",
          options: ["a", "b", "c", "d, e", "f"],
          right: 3,
          categories: { group: ["causal"], type: ["CW"] },
        },
      ],
    });
    const open = `${head},additional_ref_answer\n123,36,640,480,where,garden,7,DL,yard\n9,1,2,2,who,man,1,DO,\n`;
    expect((await read("test.csv", open)).questions).toMatchObject([
      { kind: "open", answers: ["garden", "yard"], categories: { group: ["descriptive"] } },
      { kind: "open", answers: ["man"] },
    ]);
  });

  it("is Perception Test, by video or as rows", async () => {
    const question = { question: "Is it lit?", options: ["yes", "no", "at times"], answer_id: 2 };
    const sorted = { area: "physics", reasoning: "descriptive", tag: ["motion", "object permanence"] };
    const official = { video_10: { metadata: { split: "valid", video_id: "video_10" }, mc_question: [] } };
    const asked = { id: 0, ...question, ...sorted };
    const full = { ...official, video_11: { ...official.video_10, mc_question: [asked] } };
    full.video_11.metadata = { split: "valid", video_id: "video_11" };
    const { format, questions } = await read("mc_question_valid.json", full);
    expect(format).toBe("perception-test");
    expect(questions).toMatchObject([
      {
        id: "video_11_0",
        media: [{ name: "video_11" }],
        right: 2,
        categories: { area: ["physics"], tag: ["motion", "object permanence"] },
      },
    ]);
    const row = { video_name: "video_11", question_id: "0", ...question, ...sorted, answer_id: "2" };
    expect((await read("rows.json", [row])).questions).toEqual(questions);
  });

  it("is EgoSchema, with the public answers from beside it", async () => {
    const options = Object.fromEntries([0, 1, 2, 3, 4].map((i) => [`option ${i}`, `C does ${i}.`]));
    const records = ["u-1", "u-2"].map((q_uid) => ({
      q_uid,
      google_drive_id: "x",
      question: "What is C doing?",
      ...options,
    }));
    await file("ego/subset_answers.json", { "u-2": 4 });
    await file("ego/uid_to_url.json", { "u-2": "https://example.org" });
    await file("ego/questions.json", records);
    const set = await readQuestions(join(dir, "ego"));
    expect(set.files.map(({ layout }) => layout.name)).toEqual(["egoschema"]);
    expect(set.leftOut).toHaveLength(2);
    expect(set.questions).toMatchObject([
      { id: "u-1", right: undefined, options: expect.arrayContaining(["C does 0."]) },
      { id: "u-2", right: 4, media: [{ name: "u-2" }] },
    ]);
    const row = { video_idx: "u-3", question_idx: "0", question: "What?", answer: "1" };
    const hub = await read("hub.json", [{ ...row, option: ["A. C sits.", "B. C runs."] }]);
    expect(hub).toMatchObject({
      format: "egoschema",
      questions: [{ id: "u-3", right: 1, options: ["C sits.", "C runs."] }],
    });
  });

  it("is ScanQA, sorted as its own evaluation does", async () => {
    const record = { scene_id: "scene0011_00", object_ids: [4], object_names: ["chair"] };
    const { format, questions } = await read("ScanQA_v1.0_val.json", [
      {
        ...record,
        question_id: "val-scene0011-0",
        question: "What color is it?",
        answers: ["brown", "dark"],
      },
      { ...record, question_id: "test-1", question: "Is it there?" },
    ]);
    expect(format).toBe("scanqa");
    expect(questions).toMatchObject([
      { id: "val-scene0011-0", media: [{ name: "scene0011_00" }], answers: ["brown", "dark"] },
      { id: "test-1", answers: [], categories: { type: ["other"] } },
    ]);
    expect(questions[0]?.categories).toEqual({ type: ["color"] });
  });

  it("is one's own, as JSON lines", async () => {
    const lines = [
      { media: "a.mp4", question: "What?", options: ["x", "y"], answer: 1, category: "c" },
      {
        media: ["a.jpg", "b.jpg"],
        question: "And?",
        answers: ["z"],
        id: "second",
        category: { kind: ["k", "l"] },
      },
      { media: [], question: "Why?", answer: "so" },
      { media: "a.mp4", question: "When?", answer: "now", from_s: 2, to_s: 5.5 },
    ];
    const { format, questions } = await read(
      "own.jsonl",
      lines.map((line) => JSON.stringify(line)).join("\n"),
    );
    expect(format).toBe("oryx");
    expect(questions).toMatchObject([
      { id: "own/1", kind: "choice", right: 1, categories: { category: ["c"] } },
      { id: "second", kind: "open", answers: ["z"], categories: { kind: ["k", "l"] } },
      { id: "own/3", media: [], answers: ["so"] },
      { media: [{ name: "a.mp4", part: { fromS: 2, toS: 5.5 } }] },
    ]);
  });

  it("may be told what it is", async () => {
    const record = { video: "v.mp4", question: "What?", candidates: ["x", "y"], answer: "x" };
    expect((await read("any.json", [record], "mvbench")).format).toBe("mvbench");
    await expect(read("any.json", [record], "scanqa")).rejects.toThrow(/any\.json record 1: has no/);
  });

  const choice = { media: "a", question: "?", options: ["x", "y"] };
  it.each([
    ["nothing", "", /no records/],
    ["an empty list", [], /no records/],
    ["a list of numbers", [1, 2], /record 1: it is no object/],
    ["half a file", '[{"media": "a", "quest', /questions_invalid|does not end|expected/],
    ["prose", "What a question, isn't it", /neither JSON/],
    ["unknown fields", [{ text: "What?", reply: "x" }], /layout of its questions is not known/],
    ["a number for a question", [{ media: "a", question: {} }], /its question is no text/],
    ["a wrong answer", [{ ...choice, answer: "z" }], /its answer is none of its options/],
    ["one option", [{ ...choice, options: ["x"] }], /fewer than two options/],
    ["an empty option", [{ ...choice, options: ["x", " "] }], /option without a text/],
    [
      "too many options",
      [{ ...choice, options: Array(30).fill("x") }],
      /more options than there are letters/,
    ],
    ["an empty stretch", [{ ...choice, from_s: 3, to_s: 3 }], /stretch from 3 to 3 s is empty/],
    ["one id twice", [1, 2].map(() => ({ ...choice, id: "q" })), /two questions are called "q"/],
    ["a ragged table", "video,question,qid,type\n1,2,3\n", /line 2 has 3 fields/],
    ["deep nesting", `[${"[".repeat(100)}`, /nested too deeply/],
  ])("is refused with %s", async (_, content, message) => {
    const error = await read("bad.json", content).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(OryxError);
    expect(error).toMatchObject({ code: "questions_invalid", message: expect.stringMatching(message) });
  });

  it("is refused when its bytes are no text", async () => {
    const path = await file("bytes.csv", "");
    await writeFile(path, Uint8Array.of(0x61, 0x2c, 0xff, 0xfe, 0x0a));
    await expect(readQuestions(path)).rejects.toThrow(/not text in UTF-8/);
  });

  it("is refused when it is too large, no file, or not there", async () => {
    const path = await file("large.json", "");
    await truncate(path, LIMITS.questionFileBytes + 1);
    await expect(readQuestions(path)).rejects.toThrow(/32000001 bytes/);
    await expect(readQuestions(join(dir, "nothing.json"))).rejects.toThrow(/no such file/);
    await mkdir(join(dir, "empty"), { recursive: true });
    await expect(readQuestions(join(dir, "empty"))).rejects.toThrow(/has no file of questions/);
  });

  it("gives questions or a coded error, whatever its bytes", async () => {
    const sound = JSON.stringify([{ ...choice, answer: "x" }]);
    const edits = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.integer({ min: 32, max: 126 })), {
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(edits, async (changes) => {
        const text = [...sound];
        for (const [at, code] of changes) text[at] = String.fromCharCode(code);
        await read("fuzz.json", text.join("")).catch((error) => {
          expect(error).toBeInstanceOf(OryxError);
        });
      }),
      { numRuns: 60 },
    );
  });
});
