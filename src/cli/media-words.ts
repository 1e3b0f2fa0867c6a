import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { OryxError } from "../core/errors.ts";
import type { MediaItem } from "../engine/request.ts";
import { UsageError } from "./failure.ts";

/** How the words of a command line, or of /add, are taken as media. */
export interface MediaOptions {
  /** They are the frames of one video, in order. */
  frames?: boolean;
  /** Frames a second of that video. */
  fps?: number;
}

const MEDIA_NAME = /^\S+\.(jpe?g|png|webp|gif|avif|mp4|m4v|mov|webm|mkv|avi)$/i;
const IMAGE_NAME = /\.(jpe?g|png|webp|gif|avif)$/i;

/**
 * Takes the last word as the question and those before it as media. Where none is needed, and the last word is a
 * file, all words are media.
 * @throws UsageError when there is no question; OryxError as {@link mediaItems}
 */
export async function mediaAndQuestion(
  words: readonly string[],
  options: MediaOptions,
  isQuestionNeeded = true,
): Promise<{ media: MediaItem[]; question?: string }> {
  const question = words.at(-1);
  if (!isQuestionNeeded && question !== undefined && (await isMedia(question)))
    return { media: await mediaItems(words, options) };
  if (question === undefined)
    throw new UsageError("there is no question", 'ask like this: oryx ask photo.jpg "What is it?"');
  if (question.trim() === "") throw new UsageError("the question is empty", "ask something");
  if (await isMedia(question)) {
    throw new UsageError(
      `there is no question: the last word, ${question}, is a file`,
      "put the question after the files",
    );
  }
  return { media: await mediaItems(words.slice(0, -1), options), question };
}

const isMedia = async (word: string): Promise<boolean> =>
  MEDIA_NAME.test(word) || (await kindOf(word)) !== "nothing";

/**
 * The media that the words name, each seen to be there: finding out only after a large model has been loaded
 * would be late.
 * @throws OryxError `media_missing`, `media_unreadable`, `media_empty`
 */
export async function mediaItems(
  words: readonly string[],
  { frames, fps = 1 }: MediaOptions,
): Promise<MediaItem[]> {
  if (!frames) {
    for (const word of words) await requireFile(word);
    return [...words];
  }
  if (words.length === 0)
    throw new UsageError("--frames is given, but no frames", "name the image files, or their folder");
  const files = (await Promise.all(words.map(frameFiles))).flat();
  const name = words.length === 1 ? basename(words[0] as string) : `${files.length} frames`;
  return [{ name, frames: files.map((source, i) => ({ source, timeS: i / fps })) }];
}

async function requireFile(path: string): Promise<void> {
  const kind = await kindOf(path);
  if (kind === "nothing") {
    const remedy = /[./]/.test(path)
      ? "check the path"
      : "check the path; a question of several words needs quotes";
    throw new OryxError("media_missing", `there is no file ${path}`, remedy);
  }
  if (kind === "folder") {
    const remedy = "name the files in it; with --frames, they count as one video";
    throw new OryxError("media_unreadable", `${path} is a folder`, remedy);
  }
}

/** A file itself; of a folder its images, sorted as people count: frame2 before frame10. */
async function frameFiles(path: string): Promise<string[]> {
  if ((await kindOf(path)) !== "folder") {
    await requireFile(path);
    return [path];
  }
  const entries = await readdir(path).catch((cause: unknown) => {
    const problem = `the folder ${path} cannot be read`;
    throw new OryxError("media_unreadable", problem, "check its permissions", { cause });
  });
  const names = entries.filter((name) => IMAGE_NAME.test(name));
  if (names.length === 0)
    throw new OryxError("media_empty", `the folder ${path} has no images`, "check the path");
  const { compare } = new Intl.Collator("en", { numeric: true });
  return names.sort(compare).map((name) => join(path, name));
}

async function kindOf(path: string): Promise<"file" | "folder" | "nothing"> {
  try {
    return (await stat(path)).isDirectory() ? "folder" : "file";
  } catch {
    return "nothing"; // a question of a thousand words is no path either; what can't be read says so when opened
  }
}
