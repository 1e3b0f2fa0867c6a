import { open, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { makeFolder, onDisk } from "../files/disk.ts";

/** What a conversion does to files that it makes. Tests hand in a disk that fails. */
export interface Disk {
  /** Opens a file for writing at any place, and makes it if it is not there. */
  open(path: string): Promise<OutputFile>;
  /** Bytes that may still be written into a folder. */
  freeBytes(dir: string): Promise<number>;
}

export interface OutputFile {
  write(bytes: Uint8Array, at: number): Promise<void>;
  /** Makes the file this long; what is new reads as zeros and takes no space until it is written. */
  resize(bytes: number): Promise<void>;
  /** Returns when what was written would survive a loss of power. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** One write call's bytes: Node refuses 2 GiB and more in one. */
const WRITE_BYTES = 2 ** 30;

/** The file system itself. Its errors are coded `disk`. */
export const fileSystem: Disk = {
  async freeBytes(dir) {
    const { bavail, bsize } = await onDisk(`look at the disk of ${dir}`, () => statfs(dir));
    return bavail * bsize;
  },
  async open(path) {
    const step = <T>(action: () => Promise<T>) => onDisk(`write ${path}`, action);
    const handle = await step(async () => {
      await makeFolder(dirname(path));
      // Not "w", which would empty the file; not "r+", which would not make it.
      return open(path, "a+").then(async (made) => {
        await made.close();
        return open(path, "r+");
      });
    });
    return {
      write: (bytes, at) =>
        step(async () => {
          for (let done = 0; done < bytes.length; ) {
            const length = Math.min(WRITE_BYTES, bytes.length - done);
            done += (await handle.write(bytes, done, length, at + done)).bytesWritten;
          }
        }),
      resize: (bytes) => step(() => handle.truncate(bytes)),
      sync: () => step(() => handle.sync()),
      close: () => handle.close(),
    };
  },
};
