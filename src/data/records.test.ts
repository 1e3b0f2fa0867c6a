import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OryxError } from "../core/errors.ts";
import { parseRecord, resolveMedia } from "./records.ts";

const turns = [
  { from: "human", value: "<image>\nWhat?" },
  { from: "gpt", value: "A cat." },
] as const;
const code = (name: string) => expect.objectContaining({ code: name });

describe("a record", () => {
  it("shows an image, several, or none", () => {
    expect(parseRecord({ id: "a", image: "coco/1.jpg", conversations: turns })).toEqual({
      id: "a",
      media: { modality: "image", stills: [{ path: "coco/1.jpg" }] },
      text: { turns },
    });
    const both = ["1.jpg", { patch: "p.bin", start_num: 7, size: 9 }];
    expect(parseRecord({ id: 12, image: both, conversations: turns })).toEqual({
      id: "12",
      media: {
        modality: "image",
        stills: [{ path: "1.jpg" }, { path: "p.bin", range: { offset: 7, length: 9 } }],
      },
      text: { turns },
    });
    expect(parseRecord({ conversations: turns })).toEqual({
      id: undefined,
      media: undefined,
      text: { turns },
    });
  });

  it("shows a film, or frames that lie one behind the other in a pack", () => {
    expect(parseRecord({ video: "a.mp4", conversations: turns }).media).toEqual({
      modality: "video",
      film: "a.mp4",
    });
    const video_long = { patch: "p.bin", start_num: 100, size: [5, 6, 7] };
    expect(parseRecord({ video_long, conversations: turns }).media).toEqual({
      modality: "video_long",
      stills: [
        { path: "p.bin", range: { offset: 100, length: 5 } },
        { path: "p.bin", range: { offset: 105, length: 6 } },
        { path: "p.bin", range: { offset: 111, length: 7 } },
      ],
    });
  });

  it("has a caption, or a question about frames", () => {
    expect(parseRecord({ image: "1.jpg", caption: "a cat" }).text).toEqual({ caption: "a cat" });
    const asked = { video_long: "a.mp4", question: "What is in frame <idx>?", answer: "A cat." };
    const { question, answer } = asked;
    expect(parseRecord({ ...asked, type: "caption", idx: 3 }).text).toEqual({
      question,
      answer,
      targets: [3],
    });
    expect(parseRecord({ ...asked, type: "diff", idx: [3, 0] }).text).toEqual({
      question,
      answer,
      targets: [3, 0],
    });
  });

  const asked = { video_long: "a.mp4", question: "?", answer: "!" };
  it.each<[string, unknown, RegExp]>([
    ["a list", [], /should be an object/],
    ["null", null, /should be an object/],
    ["empty", {}, /nothing to learn/],
    ["without turns", { conversations: [] }, /conversations is wrong: is empty/],
    ["said by nobody", { conversations: [{ from: "x", value: "" }] }, /conversations.0.from is wrong/],
    ["said without words", { conversations: [turns[0], { from: "gpt", value: 7 }] }, /1.value is wrong/],
    ["of two media", { image: "a", video: "b", conversations: turns }, /more than one of image/],
    ["of an empty path", { image: "", conversations: turns }, /image is wrong/],
    ["of a negative range", { image: { patch: "p", start_num: -1, size: 1 }, conversations: turns }, /image/],
    ["of half a byte", { image: { patch: "p", start_num: 0, size: 0.5 }, conversations: turns }, /image/],
    ["of a huge range", { image: { patch: "p", start_num: 0, size: 1e15 }, conversations: turns }, /image/],
    ["of no frames", { video: { patch: "p", start_num: 0, size: [] }, conversations: turns }, /video/],
    ["of two idx for one", { ...asked, type: "caption", idx: [1, 2] }, /needs 1 in idx/],
    ["of one idx for two", { ...asked, type: "diff", idx: 1 }, /needs 2 in idx/],
    ["of the same frame twice", { ...asked, idx: [1, 1] }, /twice/],
    ["of frames of nothing", { question: "?", answer: "!", idx: 1 }, /without a video_long/],
  ])("is refused when it is %s", (_, value, problem) => {
    expect(() => parseRecord(value)).toThrow(code("sample_invalid"));
    expect(() => parseRecord(value)).toThrow(problem);
  });

  it("is refused before a long list of faults is gathered", () => {
    const conversations = new Array(1_000_000).fill(1);
    expect(() => parseRecord({ conversations })).toThrow(/has over 4096 elements/);
    expect(() => parseRecord({ image: conversations })).toThrow(code("sample_invalid"));
    expect(() => parseRecord({ video: { patch: "p", start_num: 0, size: conversations } })).toThrow(
      code("sample_invalid"),
    );
  });

  it("is either understood or refused, whatever stands in it", () => {
    const keys = ["id", "image", "video", "video_long", "conversations", "caption", "question", "answer"];
    const key = fc.constantFrom(...keys, "idx", "type", "patch", "start_num", "size", "from", "value");
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(...turns, "human", "gpt", "diff", "__proto__"),
        fc.jsonValue(),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(key, tie("value"), { maxKeys: 5 }),
      ),
    }));
    fc.assert(
      fc.property(value, (any) => {
        try {
          const { media, text } = parseRecord(any);
          expect(media === undefined || media.modality.length > 0).toBe(true);
          expect("turns" in text || "caption" in text || "targets" in text).toBe(true);
        } catch (error) {
          if (!(error instanceof OryxError)) throw error;
          expect(error.code).toBe("sample_invalid");
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a path in a record", () => {
  it("counts from the data folder", () => {
    expect(resolveMedia("/data", "coco/1.jpg", false)).toBe("/data/coco/1.jpg");
    expect(resolveMedia("/data", "./a..b/...c", false)).toBe("/data/a..b/...c");
  });

  it.each(["../x", "a/../../x", "a\\..\\x", "..", "/etc/passwd", "\\\\host\\x", "C:\\x", "c:x", "a\0b"])(
    "may not leave it: %j",
    (path) => {
      expect(() => resolveMedia("/data", path, false)).toThrow(code("sample_invalid"));
    },
  );

  it("may be absolute where that is allowed, but never climb", () => {
    expect(resolveMedia("/data", "/other/1.jpg", true)).toBe("/other/1.jpg");
    expect(() => resolveMedia("/data", "/data/../x", true)).toThrow(code("sample_invalid"));
  });
});
