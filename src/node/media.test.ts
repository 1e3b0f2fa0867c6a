import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import type { Video } from "../media/media.ts";
import { openMedia } from "./media.ts";

const SAMPLE = "test/fixtures/videos/sample.mp4";

describe("a medium", () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "oryx-media-"));
  });
  afterAll(() => rm(dir, { recursive: true }));

  it("that is a film may have more bytes than an image may", async () => {
    const path = join(dir, "long.mp4");
    const film = await readFile(SAMPLE);
    const file = await open(path, "w");
    await file.write(film);
    await file.write(freeBox(LIMITS.imageBytes));
    await file.truncate(film.length + LIMITS.imageBytes); // a hole, which takes no disk
    await file.close();
    const [large, small] = [await openMedia(path), await openMedia(SAMPLE)];
    if (large.kind !== "video" || small.kind !== "video") throw new Error("is no film");
    try {
      const shown = ({ width, height, durationS, codec }: Video) => ({ width, height, durationS, codec });
      expect(shown(large.video)).toEqual(shown(small.video));
    } finally {
      await Promise.all([large.video.close(), small.video.close()]);
    }
  });
});

/** The head of a box of MP4 that holds nothing, of so many bytes. */
function freeBox(bytes: number): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32BE(1, 0); // the length comes as 64 bits, behind the name
  head.write("free", 4, "latin1");
  head.writeBigUInt64BE(BigInt(bytes), 8);
  return head;
}
