import { isAbsolute, resolve } from "node:path";
import { z } from "zod";
import { OryxError, quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { RecordTurn } from "./conversation.ts";

/**
 * Training records as LLaVA's data sets, and Oryx's after them, write them:
 * ```
 * { "id", "image": MEDIA | [MEDIA, ...], "conversations": [{ "from": "human" | "gpt", "value" }, ...] }
 * { "id", "video" | "video_long": FILM | [MEDIA, ...], "conversations": [...] }
 * { "id", "video_long": ..., "question", "answer", "type": "caption" | "diff", "idx": number | [number, number] }
 * { "id", "image" | ...: ..., "caption" }
 * ```
 * MEDIA is the path of an image, or `{ "patch": path, "start_num", "size" }`, a byte range of a pack that is one. A
 * video's patch has a list of sizes: frames, one behind the other from `start_num` on. Text needs no media.
 */

/** An encoded image: a file, or a range of a pack. */
export interface Still {
  path: string;
  range?: { offset: number; length: number };
}

/** What a record shows. */
export type RecordMedia =
  | { modality: "image"; stills: readonly Still[] }
  | { modality: "video" | "video_long"; stills: readonly Still[] }
  | { modality: "video" | "video_long"; film: string };

/** What a record says. */
export type RecordText =
  | { turns: readonly RecordTurn[] }
  | { caption: string }
  /** About the frames `targets`, numbers from 0, which are to be moved; their new places are told in the question. */
  | { question: string; answer: string; targets: readonly number[] };

export interface TrainingRecord {
  id: string | undefined;
  media: RecordMedia | undefined;
  text: RecordText;
}

/**
 * What a value from a file of records means. Keys that are not listed above are left out, as data sets carry notes.
 * @throws OryxError `sample_invalid`
 */
export function parseRecord(value: unknown): TrainingRecord {
  const result = RECORD.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    const where = issue?.path.length ? `its ${issue.path.join(".")}` : "it";
    throw invalid(`${where} is wrong: ${issue?.message}`, "write it as recipes/README.md says of records");
  }
  const raw = result.data;
  const media = mediaOf(raw);
  const text = textOf(raw);
  if ("targets" in text && media?.modality !== "video_long") {
    throw invalid("it asks about frames without a video_long", "name its video, or give conversations");
  }
  return { id: raw.id === undefined ? undefined : String(raw.id), media, text };
}

/**
 * Where a path of a record points. Records come from elsewhere, and may not read the rest of the disk.
 * @param absolute whether absolute paths are allowed
 * @throws OryxError `sample_invalid`: a path that leaves the folder, or is absolute though that is not allowed
 */
export function resolveMedia(root: string, path: string, absolute: boolean): string {
  const fromRoot = isAbsolute(path) || /^[a-z]:|^[\\/]/i.test(path);
  const leaves = path.split(/[\\/]/).includes("..") || path.includes("\0");
  if (!leaves && (absolute || !fromRoot)) return resolve(root, path);
  throw invalid(`its path ${quote(path)} leaves the data folder`, "give a path inside it");
}

// -------------------------------------------------------------------------------------------------- schema

/** An array whose length is known to be in bounds before its elements are looked at: each fault costs memory. */
const listOf = <T extends z.ZodType>(element: T, most: number) =>
  z
    .array(z.unknown(), "should be a list")
    .min(1, "is empty")
    .max(most, `has over ${most} elements`)
    .pipe(z.array(element));

const path = z.string("should be a path").min(1, "is empty").max(4096, "is too long");
const text = z.string("should be a text");
const natural = z.int("should be a whole number").nonnegative("is negative");
const bytes = natural.min(1, "is 0").max(LIMITS.imageBytes, `is over ${LIMITS.imageBytes}`);
const still = z.union([path, z.object({ patch: path, start_num: natural, size: bytes })], {
  error: "should be a path, or an object with patch, start_num and size",
});
const stills = listOf(still, LIMITS.framesPerVideo);
const pack = z.object({
  patch: path,
  start_num: natural,
  size: listOf(bytes, LIMITS.framesPerVideo),
});
const video = z.union([path, stills, pack], {
  error: "should be a path, a list of images, or an object with patch, start_num and a list of sizes",
});

const RECORD = z.object(
  {
    id: z.union([text, z.number()], { error: "should be a text or a number" }).optional(),
    image: z.union([still, listOf(still, LIMITS.mediaPerRequest)], { error: "is no image" }).optional(),
    video: video.optional(),
    video_long: video.optional(),
    conversations: listOf(
      z.object({ from: z.enum(["system", "human", "gpt"], "is neither human nor gpt"), value: text }),
      LIMITS.turnsPerRecord,
    ).optional(),
    caption: text.optional(),
    question: text.optional(),
    answer: text.optional(),
    type: z.enum(["caption", "diff"], "is neither caption nor diff").optional(),
    idx: z
      .union([natural, listOf(natural, 2)], { error: "should be a number, or a list of one or two" })
      .optional(),
  },
  "should be an object",
);
type Raw = z.infer<typeof RECORD>;

function mediaOf({ image, video, video_long }: Raw): RecordMedia | undefined {
  if ([image, video, video_long].filter((media) => media !== undefined).length > 1) {
    throw invalid("it has more than one of image, video and video_long", "keep one");
  }
  if (image !== undefined) {
    return { modality: "image", stills: (Array.isArray(image) ? image : [image]).map(stillOf) };
  }
  const film = video ?? video_long;
  if (film === undefined) return undefined;
  const modality = video === undefined ? "video_long" : "video";
  if (typeof film === "string") return { modality, film };
  return { modality, stills: Array.isArray(film) ? film.map(stillOf) : framesOf(film) };
}

function stillOf(raw: z.infer<typeof still>): Still {
  if (typeof raw === "string") return { path: raw };
  return { path: raw.patch, range: { offset: raw.start_num, length: raw.size } };
}

function framesOf({ patch, start_num, size }: z.infer<typeof pack>): Still[] {
  let offset = start_num;
  return size.map((length) => {
    const range = { offset, length };
    offset += length;
    return { path: patch, range };
  });
}

function textOf({ conversations, caption, question, answer, type, idx }: Raw): RecordText {
  if (conversations !== undefined) return { turns: conversations };
  if (caption !== undefined) return { caption };
  if (question === undefined || answer === undefined || idx === undefined) {
    throw invalid("it has nothing to learn", "give it conversations, a caption, or question, answer and idx");
  }
  const targets = typeof idx === "number" ? [idx] : idx;
  const wanted = type === "diff" ? 2 : 1;
  if (type !== undefined && targets.length !== wanted) {
    throw invalid(`its type ${type} needs ${wanted} in idx`, `give ${wanted}`);
  }
  if (new Set(targets).size < targets.length) throw invalid("its idx names a frame twice", "name two");
  return { question, answer, targets };
}

function invalid(problem: string, remedy: string): OryxError {
  return new OryxError("sample_invalid", problem, remedy);
}
