import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeImage } from "../media/image.ts";
import type { RgbImage } from "../media/media.ts";
import { resize } from "../media/resize.ts";
import { openVideo } from "../media/video.ts";
import { conversationPrompt, longVideoQuestion, userMessage } from "../text/prompt.ts";
import { createTokenizer } from "../text/tokenizer.ts";
import { answerMessage } from "./conversation.ts";
import { mixture, type RecordsSpec, recordDataset } from "./dataset.ts";
import type { Dataset, Example } from "./example.ts";
import { indexRecords } from "./record-index.ts";
import { exampleVisual } from "./visual.ts";

const fixtures = fileURLToPath(new URL("../../test/fixtures/", import.meta.url));
const json = async (name: string) =>
  JSON.parse(await readFile(join(fixtures, "oryx-qwen-tiny", name), "utf8"));
const tokenizer = createTokenizer(await json("tokenizer.json"), await json("tokenizer_config.json"));
const code = (name: string) => expect.objectContaining({ code: name });

/** Small views keep the tests quick. */
const views = {
  image: { most: 96 ** 2, overview: 32 ** 2, stride: 32 },
  video: { least: 32 ** 2, most: 64 ** 2, stride: 32 },
  video_long: { least: 64 ** 2, most: 64 ** 2, stride: 64 },
};
const talk = [
  { from: "human", value: "<image>\nWhat?" },
  { from: "gpt", value: "A cat." },
];

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "oryx-dataset-"));
});
afterAll(() => rm(root, { recursive: true }));

/** A data set of these records, as JSON lines unless they are a text. */
async function datasetOf(records: readonly unknown[], more: Partial<RecordsSpec> = {}): Promise<Dataset> {
  const file = join(root, "records.jsonl");
  await writeFile(file, records.map((record) => JSON.stringify(record)).join("\n"));
  const spec: RecordsSpec = { files: [file], root, style: "qwen", views, maxTokens: 2000, seed: 1, ...more };
  return recordDataset(spec, tokenizer);
}

async function only(record: unknown, more: Partial<RecordsSpec> = {}): Promise<Example> {
  const dataset = await datasetOf([record], more);
  try {
    return await dataset.example(0);
  } finally {
    await dataset.close();
  }
}

/** A pack of grey pictures, picture i of the level 10 i, with the sizes of its members. */
async function grayPack(name: string, count: number): Promise<number[]> {
  const levels = Array.from({ length: count }, (_, i) => 10 * i);
  const members = await Promise.all(
    levels.map((v) =>
      sharp({ create: { width: 64, height: 64, channels: 3, background: { r: v, g: v, b: v } } })
        .png()
        .toBuffer(),
    ),
  );
  await writeFile(join(root, name), Buffer.concat([Buffer.from("head"), ...members]));
  return members.map((member) => member.length);
}

describe("a record as an example", () => {
  it("shows an image of a file", async () => {
    const path = join(fixtures, "images/exif-6.jpg");
    const made = await only({ id: "cat", image: path, conversations: talk }, { absolute: true });
    const messages = [userMessage([{ visual: 0 }, { text: "What?" }]), answerMessage("A cat.")];
    expect(made.id).toBe("cat");
    expect(made.prompt).toEqual(conversationPrompt(tokenizer, "qwen", messages, { reply: false }));
    expect(made.visuals).toEqual([exampleVisual([await decodeImage(path)], "image", views)]);
  });

  it("shows images of a pack, each a visual of its own", async () => {
    const files = ["images/rgb.png", "images/photo.jpg"].map((name) => join(fixtures, name));
    const bytes = await Promise.all(files.map((file) => readFile(file)));
    await writeFile(join(root, "images.pack"), Buffer.concat(bytes));
    const [first, second] = bytes.map((b) => b.length) as [number, number];
    const image = [
      { patch: "images.pack", start_num: first, size: second },
      { patch: "images.pack", start_num: 0, size: first },
    ];
    const conversations = [{ from: "human", value: "<image> and <image>?" }, talk[1]];
    const { visuals } = await only({ image, conversations });
    const pictures = await Promise.all(files.toReversed().map((file) => decodeImage(file)));
    expect(visuals).toEqual(pictures.map((picture) => exampleVisual([picture], "image", views)));
  });

  it("shows frames of a pack, and no more than are allowed", async () => {
    const size = await grayPack("frames.pack", 9);
    const video = { patch: "frames.pack", start_num: 4, size };
    const levels = ({ visuals }: Example) => visuals[0]!.pictures.map(({ image }) => image.data[0]);
    const all = await only({ video, conversations: talk });
    expect(all.visuals[0]).toMatchObject({ count: 9, shape: { modality: "video", k: 2 } });
    expect(levels(all)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80]);
    const few = await only({ video, conversations: talk }, { frames: { video: 3, video_long: 3 } });
    expect(levels(few)).toEqual([0, 40, 80]);
  });

  it("moves the frames that it is about, and asks where they are", async () => {
    const size = await grayPack("long.pack", 8);
    const video_long = { patch: "long.pack", start_num: 4, size };
    const asked = {
      video_long,
      question: "From <idx1> to <idx2>?",
      answer: "Up.",
      type: "diff",
      idx: [6, 1],
    };
    const { prompt, visuals } = await only(asked);
    const levels = visuals[0]!.pictures.map(({ image }) => image.data[0]!);
    const [from, to] = [levels.indexOf(60), levels.indexOf(10)];
    expect(levels.filter((_, i) => i !== from && i !== to)).toEqual([0, 20, 30, 40, 50, 70]);
    expect([from, to]).not.toEqual([6, 1]);
    const text = longVideoQuestion(8, `From ${from} to ${to}?`);
    const messages = [userMessage([{ visual: 0 }, { text }]), answerMessage("Up.")];
    expect(prompt).toEqual(conversationPrompt(tokenizer, "qwen", messages, { reply: false }));
    expect(await only(asked)).toEqual(await only(asked));
  });

  it("shows a film at one frame a second, its targets moved", async () => {
    const path = join(fixtures, "videos/h264-bframes.mp4");
    const film = await openVideo(path);
    const seconds = Array.from({ length: Math.ceil(film.durationS) }, (_, i) => i);
    const frames: RgbImage[] = [];
    for await (const { image } of film.frames(seconds)) frames.push(resize(image, 64, 64));
    await film.close();
    expect(frames.length).toBeGreaterThan(1);
    const asked = { video_long: path, question: "What is in <idx>?", answer: "Bars.", idx: 0 };
    const found = new Set<number>();
    for (let seed = 0; seed < 5; seed++) {
      const { visuals } = await only(asked, { absolute: true, seed });
      const shown = visuals[0]!.pictures.map(({ image }) => image.data);
      const slot = shown.findIndex((data) => Buffer.compare(data, frames[0]!.data) === 0);
      const expected = frames.slice(1).toSpliced(slot, 0, frames[0]!);
      expect(shown).toEqual(expected.map(({ data }) => data));
      found.add(slot);
    }
    expect(found.size).toBeGreaterThan(1);
  });

  it("is text alone, or a picture with its caption", async () => {
    const words = await only({
      conversations: [
        { from: "human", value: "Who?" },
        { from: "gpt", value: "Me." },
      ],
    });
    expect([words.visuals, words.tokens]).toEqual([[], words.prompt.length]);
    expect(words.id).toBe("records.jsonl line 1");
    const image = join(fixtures, "images/rgb.png");
    const caption = await only({ image, caption: "a cat" }, { absolute: true, style: "plain" });
    expect(caption.prompt).toEqual([{ visual: 0 }, ...tokenizer.encode("a cat\n")]);
  });
});

describe("a data set of records", () => {
  it("names a broken sample by id, file and line, and gives the others", async () => {
    const good = { conversations: [{ from: "human", value: "Who?" }, talk[1]] };
    await grayPack("short.pack", 1);
    const patch = { patch: "short.pack", start_num: 90, size: 10_000 };
    const dataset = await datasetOf([
      good,
      { id: "lost", image: "no-such.png", conversations: talk },
      { id: 7 },
      { id: "beyond", image: patch, conversations: talk },
      { id: "out", image: "../etc/passwd", conversations: talk },
      { id: "no pack", image: { ...patch, patch: "none.pack" }, conversations: talk },
      { id: "no film", video: "records.jsonl", conversations: talk },
      { id: "unseen", conversations: talk },
      good,
    ]);
    expect(dataset.length).toBe(9);
    const outcomes = [];
    for (let i = 0; i < 9; i++) {
      outcomes.push(
        await dataset.example(i).then(
          () => "fine",
          (error) => `${error.code} ${error.message}`,
        ),
      );
    }
    await dataset.close();
    expect(outcomes).toEqual([
      "fine",
      expect.stringMatching(/^media_missing "lost" \(records.jsonl line 2\): .*no-such.png/),
      expect.stringMatching(/^sample_invalid records.jsonl line 3: it has nothing to learn/),
      expect.stringMatching(
        /^sample_invalid "beyond" \(records.jsonl line 4\): .* 90 to 10090 .* which has \d+/,
      ),
      expect.stringMatching(/^sample_invalid "out" \(records.jsonl line 5\): .* leaves the data folder/),
      expect.stringMatching(/^media_missing "no pack"/),
      expect.stringMatching(/^media_unsupported "no film"/),
      expect.stringMatching(/^sample_invalid "unseen"/),
      "fine",
    ]);
  });

  it("refuses a sample that is too long before it decodes it, and tells its length", async () => {
    const whole = await readFile(join(fixtures, "images/photo.jpg"));
    await writeFile(join(root, "cut.jpg"), whole.subarray(0, whole.length >> 1));
    const cut = { id: "cut", image: "cut.jpg", conversations: talk };
    await expect(only(cut)).rejects.toEqual(code("media_malformed"));
    const { tokens } = await only({ ...cut, image: join(fixtures, "images/photo.jpg") }, { absolute: true });
    const refused = only(cut, { maxTokens: tokens - 1 });
    await expect(refused).rejects.toEqual(code("sample_too_long"));
    await expect(refused).rejects.toThrow(`it has ${tokens} tokens`);
  });

  it("goes on from file to file, of which some have been indexed before", async () => {
    const says = (value: string) => ({ id: value, conversations: [{ from: "human", value }, talk[1]] });
    const [array, lines] = [join(root, "a.json"), join(root, "b.jsonl")];
    await writeFile(array, JSON.stringify([says("one"), says("two")], undefined, 2));
    await writeFile(lines, `${JSON.stringify(says("two"))}\r\n${JSON.stringify(says("three"))}\r\n`);
    const dataset = await datasetOf([], { files: [array, await indexRecords(lines)] });
    const ids = await Promise.all([0, 1, 2, 3].map(async (i) => (await dataset.example(i)).id));
    expect(ids).toEqual(["one", "two", "two", "three"]);
    await expect(dataset.example(4)).rejects.toThrow(RangeError);
    await dataset.close();
    await expect(dataset.example(0)).rejects.toEqual(code("closed"));
  });

  it("is not opened when one of its files cannot be read", async () => {
    const missing = datasetOf([{}], { files: [join(root, "none.json")] });
    await expect(missing).rejects.toEqual(code("data_invalid"));
  });
});

describe("a mixture", () => {
  const numbers = (length: number, name: string): Dataset => ({
    length,
    example: async (i) => ({ id: `${name}${i}`, prompt: [], labels: [], visuals: [], tokens: 0 }),
    close: async () => {},
  });
  const ids = (d: Dataset) =>
    Promise.all(Array.from({ length: d.length }, async (_, i) => (await d.example(i)).id));

  it("has every example as often as its weight says", async () => {
    const parts = [
      { dataset: numbers(4, "a"), weight: 1 },
      { dataset: numbers(10, "b"), weight: 0.5 },
      { dataset: numbers(3, "c"), weight: 2.5 },
    ];
    const found = await ids(mixture(parts, 3));
    const count = (id: string) => found.filter((other) => other === id).length;
    expect(found).toHaveLength(4 + 5 + 8);
    expect([0, 1, 2, 3].map((i) => count(`a${i}`))).toEqual([1, 1, 1, 1]);
    expect(new Set(found.filter((id) => id.startsWith("b"))).size).toBe(5);
    expect([0, 1, 2].map((i) => count(`c${i}`)).toSorted()).toEqual([2, 3, 3]);
    expect(await ids(mixture(parts, 3))).toEqual(found);
    expect(await ids(mixture(parts, 4))).not.toEqual(found);
  });

  it("refuses weights that make no sense, and to be empty", () => {
    for (const weight of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 0.01]) {
      expect(() => mixture([{ dataset: numbers(4, "a"), weight }], 1)).toThrow(code("data_invalid"));
    }
  });
});
