import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Random } from "../core/random.ts";
import type { Answer, AskRequest, MediaItem, Stage } from "../engine/request.ts";
import { Oryx } from "./oryx.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";
const media = (name: string) => `${GOLDEN}/media/${name}`;
const film: MediaItem = { frames: ["f0.png", "f1.png", "f2.png", "f3.png", "f4.png"].map(media) };
const [photo, other] = [media("image.png"), media("wide.png")];
/** How likely these are tells of a difference in the last bit of a logit, which words would hide. */
const LETTERS = ["A", "B", "C"];

let dir: string;
beforeAll(() => {
  vi.stubEnv("ORYX_CACHE", ""); // off in all other tests, which nothing overrides
  dir = mkdtempSync(join(tmpdir(), "oryx-cache-"));
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
});

const folder = () => join(dir, "entries");
const kept = (kind: string) => readdirSync(folder()).filter((name) => name.startsWith(`${kind}-`));
const clear = () => rmSync(folder(), { recursive: true, force: true });

/** What a request says, to the last bit, and what of it had been done before. */
interface Said {
  text: string;
  likelihoods: readonly number[];
  frameTimesS: Answer["frameTimesS"];
}

async function say(oryx: Oryx, request: AskRequest): Promise<{ said: Said; answer: Answer }> {
  const answer = await oryx.ask({ maxTokens: 6, ...request }).answer();
  const { likelihoods } = await oryx.likelihoods(request, LETTERS);
  const logs = likelihoods.map(({ logProbability }) => logProbability);
  return { said: { text: answer.text, likelihoods: logs, frameTimesS: answer.frameTimesS }, answer };
}

describe("a model with a cache", () => {
  let without: Oryx;
  let oryx: Oryx;
  /** A model in the place of one in another process: it has the disk in common, and no memory. */
  const restart = async () => {
    await oryx.close();
    oryx = await Oryx.load(GOLDEN, { contextTokens: 4096, cache: { dir } });
  };
  beforeAll(async () => {
    without = await Oryx.load(GOLDEN, { contextTokens: 4096, cache: false });
    oryx = await Oryx.load(GOLDEN, { contextTokens: 4096, cache: { dir } });
  });
  afterAll(async () => {
    await without.close();
    await oryx.close();
  });
  beforeEach(async () => {
    clear();
    await restart();
  });

  const requests: [string, AskRequest][] = [
    ["an image", { question: "What is it?", media: [photo] }],
    ["a video", { question: "What moves?", media: [film] }],
    ["a video file", { question: "What moves?", media: ["test/fixtures/videos/h264-vfr.mp4"] }],
    ["an image in memory", { question: "What is it?", media: [readFileSync(other)] }],
    ["several", { question: "Compare.", media: [photo, film, other] }],
  ];

  it.each(requests)("answers to the bit as one without, at first and again: %s", async (_, request) => {
    const truth = await say(without, request);
    const pictures = (
      truth.answer.plan.items.map((item) => item.frameTimesS?.length ?? 1) as number[]
    ).reduce((a, b) => a + b);
    const first = await say(oryx, request);
    expect(first.said).toEqual(truth.said);
    expect(first.answer.reused).toEqual({ pictures: 0, promptTokens: 0 });
    const again = await say(oryx, request);
    expect(again.said).toEqual(truth.said);
    expect(again.answer.reused.pictures).toBe(pictures);
    await restart();
    const later = await say(oryx, request);
    expect(later.said).toEqual(truth.said);
    expect(later.answer.reused).toEqual(again.answer.reused);
    expect(later.answer.plan).toEqual(truth.answer.plan);
    // All but the question was there: the words of the turn behind the media.
    expect(later.answer.plan.promptTokens - later.answer.reused.promptTokens).toBeLessThan(30);
  });

  it("does for another question neither decoding nor encoding nor reading", async () => {
    await say(oryx, { question: "What moves?", media: [film] });
    await restart();
    const told: Partial<Record<Stage, number>> = {};
    const question = "Is there a circle?";
    const { said, answer } = await say(oryx, {
      question,
      media: [film],
      onProgress: ({ stage, done, total }) => {
        // What is told first of a stage: all pictures, and of the prompt what is left.
        told[stage] ??= total - done;
      },
    });
    expect(said).toEqual((await say(without, { question, media: [film] })).said);
    expect(answer.reused.pictures).toBe(5);
    expect([told.decode, told.encode]).toEqual([0, 0]);
    expect(answer.reused.promptTokens).toBeGreaterThan(answer.plan.visualTokens);
  });

  it("keeps the first medium's work when another one is added", async () => {
    const first = await say(oryx, { question: "What is it?", media: [photo] });
    await restart();
    const both = { question: "Compare.", media: [photo, other] };
    const { said, answer } = await say(oryx, both);
    expect(said).toEqual((await say(without, both)).said);
    expect(answer.reused.pictures).toBe(1);
    expect(answer.reused.promptTokens).toBeGreaterThan(first.answer.plan.visualTokens);
    // The other way round, the prompt begins otherwise, but both are encoded.
    const turned = { question: "Compare.", media: [other, photo] };
    const swapped = await say(oryx, turned);
    expect(swapped.said).toEqual((await say(without, turned)).said);
    expect(swapped.answer.reused).toEqual({ pictures: 2, promptTokens: 0 });
  });

  it("keeps nothing of a file that is replaced between its hash and its decoding", async () => {
    const plain = (background: string) =>
      sharp({ create: { width: 96, height: 96, channels: 3, background } })
        .png()
        .toBuffer();
    const path = join(dir, "replaced.png");
    const [red, blue] = [await plain("red"), await plain("blue")];
    writeFileSync(path, red);
    const request = { question: "What is it?", media: [photo, path] };
    let isReplaced = false;
    const onProgress = () => {
      if (!isReplaced) writeFileSync(path, blue);
      isReplaced = true;
    };
    await oryx.ask({ ...request, maxTokens: 1, onProgress }).answer();
    writeFileSync(path, red);
    const { said, answer } = await say(oryx, request);
    expect(said).toEqual((await say(without, request)).said);
    expect(answer.reused.pictures).toBe(1); // the photo
  });

  it("keeps nothing of one film under another's name, when that takes its place between opening and hash", async () => {
    const videos = "test/fixtures/videos";
    const [path, next] = [join(dir, "film.mp4"), join(dir, "next.mp4")];
    for (const isAtRest of [false, true]) {
      copyFileSync(`${videos}/h264-vfr.mp4`, path);
      copyFileSync(`${videos}/h264-bframes.mp4`, next);
      if (isAtRest) await sleep(2100);
      const request = { question: "What moves?", media: [path] };
      const onPlan = () => existsSync(next) && renameSync(next, path);
      const { text } = await oryx.ask({ ...request, maxTokens: 6, onPlan }).answer();
      const opened = { question: "What moves?", media: [`${videos}/h264-vfr.mp4`] };
      expect(text).toBe((await say(without, opened)).said.text);
      expect([kept("features"), kept("kv")]).toEqual([[], []]);
    }
  });

  it("finds nothing when the pictures are prepared otherwise, or stand behind other words", async () => {
    await say(oryx, { question: "What moves?", media: [film] });
    const files = kept("features").length;
    for (const options of [{ compress: 1 as const }, { maxFrames: 3 }]) {
      const request = { question: "What moves?", media: [film], ...options };
      const { said, answer } = await say(oryx, request);
      expect(said).toEqual((await say(without, request)).said);
      expect(answer.reused).toEqual({ pictures: 0, promptTokens: 0 });
    }
    expect(kept("features")).toHaveLength(files + 2);
    const strict = { question: "What moves?", media: [film], system: "Be brief." };
    const { said, answer } = await say(oryx, strict);
    expect(said).toEqual((await say(without, strict)).said);
    expect(answer.reused).toEqual({ pictures: 5, promptTokens: 0 });
  });

  it("works in a conversation, whose later media are found again too", async () => {
    const turns = [
      { question: "What is it?", media: [photo], maxTokens: 5 },
      { question: "And now?", media: [film], maxTokens: 5 },
      { question: "Sure?", maxTokens: 5 },
    ];
    const talk = async (model: Oryx) => {
      using chat = model.chat();
      const answers: Answer[] = [];
      for (const turn of turns) answers.push(await chat.ask(turn).answer());
      return answers;
    };
    const truth = (await talk(without)).map(({ text }) => text);
    expect((await talk(oryx)).map(({ text }) => text)).toEqual(truth);
    await restart();
    const again = await talk(oryx);
    expect(again.map(({ text }) => text)).toEqual(truth);
    expect(again.map(({ reused }) => reused.pictures)).toEqual([1, 5, 0]);
    expect(again[1]?.reused.promptTokens).toBeGreaterThan(again[1]?.plan.visualTokens as number);
  });

  it("is as it was after a request that was aborted at any stage, and answers as before", async () => {
    const request = { question: "What moves?", media: [photo, film] };
    const truth = await say(without, request);
    for (const stage of ["decode", "encode", "prefill", "generate"] as const) {
      clear();
      await restart();
      for (const isFirst of [true, false]) {
        const stop = new AbortController();
        const onProgress = (progress: { stage: Stage }) => progress.stage === stage && stop.abort();
        const aborted = oryx.ask({ ...request, signal: stop.signal, onProgress }).answer();
        await expect(aborted, `${stage}, ${isFirst}`).rejects.toMatchObject({ code: "aborted" });
      }
      expect(readdirSync(folder()).filter((name) => name.startsWith("writing-"))).toEqual([]);
      expect((await say(oryx, request)).said).toEqual(truth.said);
    }
  });

  it("takes nothing from files that were cut off or flipped, and writes them anew", async () => {
    const request = { question: "What moves?", media: [photo, film] };
    const truth = await say(oryx, request);
    const random = new Random(7);
    const spoil = {
      cut: (path: string, bytes: Buffer) => truncateSync(path, Math.floor(random.next() * bytes.length)),
      flip: (path: string, bytes: Buffer) => {
        const at = Math.floor(random.next() * bytes.length);
        bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(random.next() * 8));
        writeFileSync(path, bytes);
      },
    };
    const sound = new Map(readdirSync(folder()).map((name) => [name, readFileSync(join(folder(), name))]));
    expect([...sound.keys()].map((name) => name.split("-")[0])).toEqual(
      expect.arrayContaining(["features", "hash", "kv"]),
    );
    for (const damage of [spoil.cut, spoil.flip, spoil.flip]) {
      for (const [name, bytes] of sound) damage(join(folder(), name), Buffer.from(bytes));
      await restart();
      const { said, answer } = await say(oryx, request);
      expect(said).toEqual(truth.said);
      expect(answer.reused).toEqual({ pictures: 0, promptTokens: 0 });
      for (const kind of ["features", "kv"]) {
        for (const name of kept(kind)) {
          expect(readFileSync(join(folder(), name)).equals(sound.get(name) as Buffer)).toBe(true);
        }
      }
    }
  });

  it("takes nothing from another model's files, under their names or its own", async () => {
    const request = { question: "What moves?", media: [film] };
    const truth = await say(oryx, request);
    const mine = readdirSync(folder());
    const llama = await Oryx.load("test/fixtures/oryx-llama-tiny", { contextTokens: 4096, cache: { dir } });
    try {
      const { said, answer } = await say(llama, request);
      expect(answer.reused).toEqual({ pictures: 0, promptTokens: 0 });
      expect(said).not.toEqual(truth.said);
      for (const kind of ["features", "kv"]) {
        const theirs = kept(kind).filter((name) => !mine.includes(name));
        const own = mine.filter((name) => name.startsWith(`${kind}-`));
        expect([theirs.length, own.length]).toEqual([1, 1]);
        writeFileSync(join(folder(), own[0] as string), readFileSync(join(folder(), theirs[0] as string)));
      }
    } finally {
      await llama.close();
    }
    await restart();
    const { said, answer } = await say(oryx, request);
    expect(said).toEqual(truth.said);
    expect(answer.reused).toEqual({ pictures: 0, promptTokens: 0 });
  });

  it("notices that a file has become another one", async () => {
    const file = join(dir, "picture.png");
    writeFileSync(file, readFileSync(photo));
    const request = { question: "What is it?", media: [file] };
    await say(oryx, request);
    writeFileSync(file, readFileSync(other));
    const { said, answer } = await say(oryx, request);
    expect(answer.reused.pictures).toBe(0);
    expect(said).toEqual((await say(without, { ...request, media: [other] })).said);
  });

  it("says the same whatever the threads: what one has kept, another one can take", async () => {
    const request = { question: "What moves?", media: [photo, film] };
    const told: Said[] = [];
    for (const threads of [1, 2, 3]) {
      const model = await Oryx.load(GOLDEN, { contextTokens: 4096, threads, cache: false });
      told.push((await say(model, request)).said);
      await model.close();
    }
    expect(told[1]).toEqual(told[0]);
    expect(told[2]).toEqual(told[0]);
  });

  it("tells apart types of the cache of keys and values", async () => {
    const request = { question: "What moves?", media: [film] };
    await say(oryx, request);
    const half = await Oryx.load(GOLDEN, { contextTokens: 4096, kv: "f16", cache: { dir } });
    const { answer } = await say(half, request);
    expect(answer.reused).toEqual({ pictures: 5, promptTokens: 0 });
    await half.close();
  });
});

describe("the option cache", () => {
  it("keeps nothing where ORYX_CACHE is off, whatever it says itself", async () => {
    vi.stubEnv("ORYX_CACHE", "off");
    try {
      clear();
      const oryx = await Oryx.load(GOLDEN, { contextTokens: 4096, cache: { dir } });
      for (let i = 0; i < 2; i++) {
        const { answer } = await say(oryx, { question: "What is it?", media: [photo] });
        expect(answer.reused).toEqual({ pictures: 0, promptTokens: 0 });
      }
      await oryx.close();
      expect(existsSync(folder())).toBe(false);
    } finally {
      vi.stubEnv("ORYX_CACHE", "");
    }
  });

  it.each([{ cache: true }, { cache: { maxBytes: -1 } }, { cache: { dir: 5 } }, { cache: { size: 5 } }])(
    "is checked: %o",
    async (options) => {
      const load = Oryx.load(GOLDEN, options as unknown as Parameters<typeof Oryx.load>[1]);
      await expect(load).rejects.toMatchObject({ code: "bad_option" });
    },
  );
});
