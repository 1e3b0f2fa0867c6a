import { CustomSource } from "mediabunny";
import type { VideoFile } from "./video-file.ts";

/**
 * The film's bytes, for the demuxer. A damaged Matroska file can send it round in circles, reading the same bytes
 * for ever without once yielding to timers; so it caches nothing itself, and every read comes out of a budget
 * that each question put to the demuxer starts anew.
 */
export class MeteredSource {
  readonly source: CustomSource;
  readonly #budget: number;
  #readsLeft: number;

  constructor(file: VideoFile) {
    this.#budget = 20_000 + file.byteLength / 65_536; // a long film without an index is searched part by part
    this.#readsLeft = this.#budget;
    this.source = new CustomSource({
      getSize: () => file.byteLength,
      read: (start, end) => {
        if (this.#readsLeft-- <= 0) throw new Error("its parts lead in circles");
        return file.read(start, end - start);
      },
      maxCacheSize: 0,
      // A failed read-ahead fails again when its bytes are really wanted, and is reported then.
      handleUnhandledError: () => {},
    });
  }

  refill(): void {
    this.#readsLeft = this.#budget;
  }
}
