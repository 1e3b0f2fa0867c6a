import type { Dirent } from "node:fs";
import { opendir, readdir, stat } from "node:fs/promises";
import { basename, extname, join, relative, resolve, sep } from "node:path";
import { OryxError, throwIfAborted } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import type { MediaItem } from "../../engine/request.ts";
import { shortened } from "../../media/file.ts";
import type { MediaName } from "./question.ts";

/** A file, or a folder of pictures that are one video. */
export interface FoundMedia {
  path: string;
  isFolder: boolean;
}

/** Where each name's media lie; `several` when that is not clear. */
export type MediaFiles = ReadonlyMap<string, FoundMedia | "several">;

const EXTENSIONS = ["mp4", "mkv", "webm", "mov", "m4v", "avi", "gif", "jpg", "jpeg", "png", "webp", "avif"];
const PICTURE = /\.(jpe?g|png|webp|avif)$/i;

/** Names one medium of a question: the same name in two sources is two media. */
export const mediaKey = ({ name, folder }: MediaName): string => `${folder ?? ""}\0${name}`;

/**
 * Looks for media below a folder, whatever the folders in between are called: by the path as it is named; by its last
 * part; by that part with another extension, or none, which also finds a folder of pictures. What fits better wins.
 * Links to folders are not followed.
 * @throws OryxError `questions_invalid`: no such folder, or more in it than is looked at
 */
export async function findMedia(
  root: string,
  names: readonly MediaName[],
  signal?: AbortSignal,
): Promise<MediaFiles> {
  const wanted = new Map<string, Set<string>>();
  for (const { name } of names) {
    for (const key of [stemOf(name), lastOf(name)]) wanted.set(key, new Set());
  }
  await walk(root, wanted, signal);
  const found = new Map<string, FoundMedia | "several">();
  for (const name of names) {
    const best = bestOf(root, name, wanted);
    if (best !== undefined) found.set(mediaKey(name), best);
  }
  return found;
}

/** What is found, as a request takes it. */
export async function mediaItem({ path, isFolder }: FoundMedia, { fps = 1 }: MediaName): Promise<MediaItem> {
  if (!isFolder) return path;
  const pictures = await picturesOf(path);
  return { name: path, frames: pictures.map((source, i) => ({ source, timeS: i / fps })) };
}

/** What tells media from others of the same names, and from what they were before: sizes and times of change. */
export async function stateOf(media: readonly FoundMedia[]): Promise<string> {
  const files = await Promise.all(
    media.map(async ({ path, isFolder }) => (isFolder ? await picturesOf(path).catch(() => []) : [path])),
  );
  const states = files.flat().map(async (path) => {
    const found = await stat(path, { bigint: true }).catch(() => undefined); // what is gone says so when it is opened
    return found && `${found.size} ${found.mtimeNs}`;
  });
  return (await Promise.all(states)).join();
}

/** The last part of a path, without what follows its last point if that is an extension of media. */
const stemOf = (name: string): string => {
  const last = lastOf(name);
  const extension = extname(last).slice(1).toLowerCase();
  return EXTENSIONS.includes(extension) ? last.slice(0, -extension.length - 1) : last;
};

const lastOf = (name: string): string => name.split(/[\\/]/).findLast((part) => part !== "") ?? name;

/** Puts paths under the names that they may be meant by: only those are kept, however many files there are. */
async function walk(root: string, wanted: Map<string, Set<string>>, signal?: AbortSignal): Promise<void> {
  const folders: { path: string; depth: number }[] = [{ path: root, depth: 0 }];
  let seen = 0;
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    throwIfAborted(signal);
    const { path, depth } = next;
    for await (const entry of entriesOf(path, depth === 0)) {
      if (++seen > LIMITS.mediaFolderEntries) {
        const problem = `${shortened(root)} has over ${LIMITS.mediaFolderEntries} files`;
        throw new OryxError("questions_invalid", problem, "name the folder of the media with --media");
      }
      const isFolder = entry.isDirectory();
      const isMedia = isFolder || EXTENSIONS.includes(extname(entry.name).slice(1).toLowerCase());
      const place = isFolder ? `${join(path, entry.name)}${sep}` : join(path, entry.name);
      if (isMedia) for (const key of [entry.name, stemOf(entry.name)]) wanted.get(key)?.add(place);
      if (isFolder && depth < LIMITS.mediaFolderDepth)
        folders.push({ path: join(path, entry.name), depth: depth + 1 });
    }
  }
}

/** What a folder holds, one after the other; a folder that may not be read holds nothing, except the root. */
async function* entriesOf(path: string, isRoot: boolean): AsyncGenerator<Dirent, void, undefined> {
  const folder = await opendir(path).catch((cause: unknown) => {
    if (!isRoot) return undefined;
    const problem = `the folder ${shortened(path)} cannot be read`;
    throw new OryxError("questions_invalid", problem, "check the path of --media", { cause });
  });
  if (folder !== undefined) yield* folder;
}

/** The place that fits a name best; none, or several that fit equally. */
function bestOf(
  root: string,
  name: MediaName,
  wanted: ReadonlyMap<string, ReadonlySet<string>>,
): FoundMedia | "several" | undefined {
  const keys = [lastOf(name.name), stemOf(name.name)];
  const places = new Set(keys.flatMap((key) => [...(wanted.get(key) ?? [])]));
  const ranked = [...places].flatMap((place) => {
    const score = fitOf(root, place, name);
    return score === undefined ? [] : [{ place, score }];
  });
  const [first, second] = ranked.sort((a, b) => b.score - a.score);
  if (first === undefined) return undefined;
  if (first.score === second?.score) return "several";
  const isFolder = first.place.endsWith(sep);
  return { path: isFolder ? first.place.slice(0, -sep.length) : first.place, isFolder };
}

/**
 * How well a place fits a name: the path as it is named, before the path with another extension, before the mere name; a
 * file before a folder. Undefined when it is another source's medium of that name.
 */
function fitOf(root: string, place: string, { name, folder }: MediaName): number | undefined {
  const isFolder = place.endsWith(sep);
  const path = relative(root, place).split(sep).join("/");
  const isAlone = !path.includes("/"); // all sources may lie in one folder
  const folders = [basename(resolve(root)), ...path.split("/").slice(0, -1)];
  if (folder !== undefined && !isAlone && !folders.includes(folder)) return undefined;
  const asked = name.split(/[\\/]/).filter((part) => part !== "" && part !== ".");
  const bare = [...asked.slice(0, -1), stemOf(name)].join("/");
  const stem = isFolder ? path : path.slice(0, path.length - extname(path).length);
  const endsIn = (whole: string, part: string) => `/${whole}`.endsWith(`/${part}`);
  return (endsIn(path, asked.join("/")) ? 4 : 0) + (endsIn(stem, bare) ? 2 : 0) + (isFolder ? 0 : 1);
}

/** A folder's pictures as people count them: 2 before 10. Scans have them in a folder `color`. */
async function picturesOf(folder: string): Promise<string[]> {
  const { compare } = new Intl.Collator("en", { numeric: true });
  for (const place of [folder, join(folder, "color")]) {
    const names = (await readdir(place).catch(() => [])).filter((name) => PICTURE.test(name));
    if (names.length > 0) return names.sort(compare).map((name) => join(place, name));
  }
  throw new OryxError("media_empty", `the folder ${shortened(basename(folder))} has no pictures`, "check it");
}
