import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { OryxError, quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Size } from "../core/size.ts";
import { onDisk } from "../files/disk.ts";
import { decodeImage } from "../media/image.ts";
import type { RgbImage } from "../media/media.ts";
import { type NeedleVariant, needleCards } from "../world/needle-film.ts";

/** What is hidden in a film, and what is asked about it. */
export interface Needle {
  /** Tells it from others by its name and its content: an answer to other questions is none to these. */
  id: string;
  /** Seed of what chance decides about it. */
  seed: number;
  questions: { question: string; answer: string }[];
  /** Number of its pictures: those that are asked about, the first at the depth that is measured, then distractors. */
  pictures: number;
  /** Its pictures, for a film of a size. */
  load: (film: Size, signal?: AbortSignal) => Promise<RgbImage[]>;
}

export interface CardOptions {
  variant: NeedleVariant;
  distractors: number;
  heldOut: boolean;
}

/** A card of the miniature world. @param size of the film that it is for */
export function worldNeedle(seed: number, options: CardOptions, size?: Size): Needle {
  const { asked, questions, draw } = needleCards(seed, { ...options, size });
  const hash = createHash("sha256").update(JSON.stringify(questions)).digest("hex");
  const id = `card-${seed}@${hash.slice(0, ID_DIGITS)}`;
  return { id, seed, questions, pictures: asked + options.distractors, load: draw };
}

/** Digits of its content's hash in a needle's id. */
const ID_DIGITS = 12;

// --------------------------------------------------------------------------------------------------- files

const TEXT = z.string().trim().min(1).max(LIMITS.promptChars);
const NAMES = z.array(z.string().min(1)).max(LIMITS.picturesPerNeedle);
const ASKED = z.strictObject({ question: TEXT, answer: TEXT });
const SINGLE = z.strictObject({
  image: z.union([z.string().min(1), NAMES.min(1)]),
  distractors: NAMES.optional(),
  question: TEXT,
  answer: TEXT,
});
const SEVERAL = z.strictObject({
  image: SINGLE.shape.image,
  distractors: NAMES.optional(),
  questions: z.array(ASKED).min(1).max(LIMITS.picturesPerNeedle),
});
const ENTRY = z.union([SINGLE, SEVERAL]);
const FILE = z.union([z.array(ENTRY).min(1).max(LIMITS.needlesPerFile), ENTRY]);

export interface FolderOptions {
  /** How many of the images that resemble a needle are hidden too. */
  distractors: number;
  /** So many needles, the first ones by the names of their files; default: all. */
  count?: number | undefined;
}

/**
 * Needles of a folder: JSON files, each with one needle or a list of them, beside the images that they name.
 *
 * ```json
 * { "image": "sign.jpg", "question": "What does the sign say?", "answer": "No swimming" }
 * ```
 *
 * `image` may be a list, of which the first is put at the depth that is measured, `questions` a list of questions with
 * answers that must all be right, and `distractors` a list of images that resemble it.
 *
 * @throws OryxError `questions_invalid`, `media_missing`; `bad_option` when there are fewer than are asked for
 */
export async function folderNeedles(dir: string, { distractors, count }: FolderOptions): Promise<Needle[]> {
  const names = await readdir(dir).catch((cause: NodeJS.ErrnoException) => {
    throw new OryxError("media_missing", `there is no folder ${dir}`, "check the path", { cause });
  });
  const files = names.filter((name) => name.endsWith(".json")).sort();
  const needles: Needle[] = [];
  for (const file of files) {
    const entries = await readEntries(join(dir, file));
    for (const [i, entry] of entries.entries()) {
      const name = `${basename(file, ".json")}${entries.length > 1 ? `-${i}` : ""}`;
      needles.push(await fileNeedle(dir, name, entry, distractors));
      if (needles.length === count) return needles;
    }
  }
  if (needles.length === 0) throw invalid(dir, "no .json file is in it");
  if (count === undefined) return needles;
  const problem = `${dir} has ${needles.length} needles, and ${count} are asked for`;
  throw new OryxError("bad_option", problem, `give a --count of at most ${needles.length}, or none for all`);
}

async function readEntries(path: string): Promise<z.infer<typeof ENTRY>[]> {
  const { size } = await onDisk(`read ${path}`, () => stat(path));
  if (size > LIMITS.questionFileBytes) throw invalid(path, `${size} bytes`);
  const text = await onDisk(`read ${path}`, () => readFile(path, "utf8"));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw invalid(path, "it is no JSON", cause);
  }
  const parsed = FILE.safeParse(json);
  if (!parsed.success)
    throw invalid(path, "it lacks an image, a question or an answer, or has more than these");
  return Array.isArray(parsed.data) ? parsed.data : [parsed.data];
}

async function fileNeedle(
  dir: string,
  name: string,
  entry: z.infer<typeof ENTRY>,
  distractors: number,
): Promise<Needle> {
  const near = entry.distractors ?? [];
  if (near.length < distractors) {
    throw invalid(join(dir, name), `it has ${near.length} distractors, and ${distractors} are to be hidden`);
  }
  const images = [...[entry.image].flat(), ...near.slice(0, distractors)];
  const questions = "questions" in entry ? entry.questions : [entry];
  const hash = createHash("sha256").update(JSON.stringify(questions));
  const paths: string[] = [];
  for (const image of images) {
    // What lies outside the folder is not the folder's to show.
    if (image !== basename(image)) throw invalid(join(dir, name), `${quote(image)} is not in the folder`);
    const path = join(dir, image);
    const found = await stat(path).catch(() => undefined);
    if (!found?.isFile()) throw new OryxError("media_missing", `there is no file ${path}`, "check its name");
    if (found.size > LIMITS.imageBytes) {
      throw new OryxError("media_too_large", `${path} has ${found.size} bytes`, "make it smaller");
    }
    hash.update(await onDisk(`read ${path}`, () => readFile(path)));
    paths.push(path);
  }
  const id = hash.digest("hex");
  return {
    id: `${name}@${id.slice(0, ID_DIGITS)}`,
    seed: Number.parseInt(id.slice(0, 8), 16),
    questions: questions.map(({ question, answer }) => ({ question, answer })),
    pictures: paths.length,
    load: async (_, signal) => {
      const pictures: RgbImage[] = [];
      for (const path of paths) pictures.push(await decodeImage(path, { signal }));
      return pictures;
    },
  };
}

const invalid = (path: string, problem: string, cause?: unknown): OryxError =>
  new OryxError(
    "questions_invalid",
    `${path}: ${problem}`,
    'write {"image": "sign.jpg", "question": "...", "answer": "..."}, or a list of those, beside the images',
    { cause },
  );
