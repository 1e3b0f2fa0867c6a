import { randomUUID } from "node:crypto";
import {
  copyFile,
  link,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { OryxError } from "../core/errors.ts";
import { isFolder, makeFolder, onDisk, replaceFile } from "../files/disk.ts";
import type { HubFile } from "./listing.ts";
import type { ModelId } from "./model-id.ts";

/**
 * The cache layout of Python's huggingface_hub: per model, `blobs/<etag>` hold the content,
 * `snapshots/<commit>/<file>` are relative links to blobs, `refs/<revision>` hold commits.
 */
export class ModelCache {
  readonly folder: string;

  constructor(cacheDir: string, { org, name }: ModelId) {
    this.folder = join(cacheDir, `models--${org}--${name}`);
  }

  blobPath({ etag }: HubFile): string {
    return join(this.folder, "blobs", etag);
  }

  /** Where a blob grows until it is whole. Python's own names for such files differ, so neither disturbs the other. */
  partialPath(file: HubFile): string {
    return `${this.blobPath(file)}.oryx.incomplete`;
  }

  snapshotPath(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** The commit of a revision as of the last pull; undefined when it was never pulled, or not to its end. */
  async commitOf(revision: string): Promise<string | undefined> {
    const ref = await readFile(join(this.folder, "refs", revision), "utf8").catch(() => undefined);
    const commit = ref?.trim() ?? revision;
    if (!COMMIT.test(commit)) return undefined;
    const isUnfinished = ref === undefined && (await hasSize(this.#pullingPath(commit), 0));
    if (isUnfinished) return undefined;
    return (await isFolder(this.snapshotPath(commit))) ? commit : undefined;
  }

  /** Notes that a commit's files are on their way: its folder alone does not tell whether all are there. */
  async begin(commit: string): Promise<void> {
    await inCache(`note ${commit}`, async () => {
      await makeFolder(this.folder);
      await writeFile(this.#pullingPath(commit), "");
    });
  }

  /** Notes that a commit's files are all there. */
  async finish(commit: string): Promise<void> {
    await inCache(`note ${commit}`, () => rm(this.#pullingPath(commit), { force: true }));
  }

  #pullingPath(commit: string): string {
    return join(this.folder, `.oryx-pulling-${commit}`);
  }

  /** Notes which commit a revision is; a commit needs no note. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit) return;
    const path = join(this.folder, "refs", revision);
    await inCache(`note the revision ${revision}`, async () => {
      await makeFolder(dirname(path));
      await replaceFile(path, commit);
    });
  }

  /** Whether a snapshot has a file of the announced size. */
  async has(commit: string, file: HubFile): Promise<boolean> {
    return hasSize(join(this.snapshotPath(commit), file.path), file.size);
  }

  /** Shows a blob in a snapshot: as a relative link where the system allows links, else as hard link or copy. */
  async show(commit: string, file: HubFile, makeSymlink: typeof symlink = symlink): Promise<void> {
    const path = join(this.snapshotPath(commit), file.path);
    const blob = this.blobPath(file);
    await inCache(`link ${file.path}`, async () => {
      await makeFolder(dirname(path));
      const fresh = `${path}.${randomUUID()}`;
      await makeSymlink(relative(dirname(path), blob), fresh)
        .catch(() => link(blob, fresh))
        .catch(() => copyFile(blob, fresh));
      await rename(fresh, path);
    });
  }

  /** Paths of a snapshot's files, with slashes. */
  async files(commit: string): Promise<string[]> {
    const entries = await readdir(this.snapshotPath(commit), { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) =>
        relative(this.snapshotPath(commit), join(entry.parentPath, entry.name)).replaceAll(sep, "/"),
      )
      .sort();
  }

  /** @throws OryxError `disk` when the file system cannot hold what is missing of these files. */
  async requireSpace(files: readonly HubFile[]): Promise<void> {
    await inCache("prepare the model cache", async () => {
      await makeFolder(join(this.folder, "blobs"));
      let bytes = 0;
      for (const file of files) {
        const here = await Promise.all([this.blobPath(file), this.partialPath(file)].map(sizeOf));
        bytes += Math.max(0, file.size - Math.max(...here));
      }
      const { bavail, bsize } = await statfs(this.folder);
      if (bytes <= bavail * bsize) return;
      const problem = `the model needs ${bytes} more bytes, and ${this.folder} has ${bavail * bsize} free`;
      throw new OryxError("disk", problem, "free some space, or set HF_HUB_CACHE to a larger disk");
    });
  }
}

const COMMIT = /^[0-9a-f]{40}$/;

/** Whether there is a file of this size, through links. */
export async function hasSize(path: string, bytes: number): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile() && found.size === bytes,
    () => false,
  );
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    (found) => found.size,
    () => 0,
  );
}

/** Runs an action on the cache's disk, whose errors become `disk`. */
export function inCache<T>(what: string, action: () => Promise<T>): Promise<T> {
  return onDisk(what, action, "check its permissions, or set HF_HUB_CACHE to another disk");
}
