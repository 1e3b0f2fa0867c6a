import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { VideoFile } from "./video-file.ts";

/**
 * Reads the index of an mp4 or mov film and refuses one that lies.
 *
 * A sample table says in 16 bytes that a film has four billion frames, and a demuxer that believes it fills the
 * memory before it looks at a single frame. So the counts are compared with each other and with the bytes that
 * are there, before any demuxer sees the file. The cost is one pass over the index.
 *
 * @returns whether the file ends before its last part does: it was cut, and its last frames are gone
 * @throws OryxError `media_malformed`: no index (the file was cut, or is still being written), or one that
 *   contradicts itself or the file; `media_too_large`: an index over `LIMITS.videoIndexBytes`
 */
export async function checkMp4(file: VideoFile): Promise<boolean> {
  let isIndexed = false;
  let isCut = false;
  for await (const box of topLevelBoxes(file)) {
    isCut = box.end > file.byteLength;
    // An index that was cut is none; a fragment without its end is passed over like the frames that it lists.
    if (isCut || !(box.name === "moov" || box.name === "moof")) continue;
    if (box.end - box.start > LIMITS.videoIndexBytes) {
      throw new OryxError(
        "media_too_large",
        `the index of ${file.name} has ${box.end - box.start} bytes; ${LIMITS.videoIndexBytes} are allowed`,
        "split the film",
      );
    }
    const bytes = await file.read(box.start, box.end - box.start);
    checkBoxes(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), file, newTrack());
    isIndexed ||= box.name === "moov";
  }
  if (!isIndexed) throw cut(file);
  return isCut;
}

interface TopLevelBox {
  name: string;
  /** Where its content starts and where it says that it ends; the end may lie outside the file. */
  start: number;
  end: number;
}

async function* topLevelBoxes(file: VideoFile): AsyncGenerator<TopLevelBox, void, undefined> {
  for (let at = 0, count = 0; at + 8 <= file.byteLength; count++) {
    if (count > LIMITS.videoBoxes) throw lie(file, "it has too many parts");
    const head = await file.read(at, 16);
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
    const box = boxHeader(view, 0, file.byteLength - at);
    if (!box) return; // bytes after the last part; without an index before them, the caller complains
    yield { name: box.name, start: at + box.start, end: at + box.end };
    at += box.end;
  }
}

/** A box's name and its content's range in `view`, whose real end is `available`; undefined when it makes no sense. */
function boxHeader(view: DataView, at: number, available: number) {
  if (at + 8 > view.byteLength) return undefined;
  const name = String.fromCharCode(...[4, 5, 6, 7].map((i) => view.getUint8(at + i)));
  const size = view.getUint32(at);
  if (size === 0) return { name, start: at + 8, end: available }; // up to the end
  if (size > 1) return size < 8 ? undefined : { name, start: at + 8, end: at + size };
  if (at + 16 > view.byteLength) return undefined;
  const large = Number(view.getBigUint64(at + 8));
  return large < 16 ? undefined : { name, start: at + 16, end: at + large };
}

/** Boxes that hold other boxes on the way to the sample tables. */
const CONTAINERS: ReadonlySet<string> = new Set([
  ..."moov trak mdia minf stbl edts mvex moof traf".split(" "),
]);

/** What one track's tables say about its samples. */
interface Track {
  isVideo: boolean;
  /** Samples that stts gives a time to, ctts an offset, and stsz a size. */
  timed: number;
  shifted: number;
  sized: number;
  /** Most samples in one chunk. */
  chunked: number;
}

function newTrack(): Track {
  return { isVideo: false, timed: 0, shifted: 0, sized: 0, chunked: 0 };
}

function checkBoxes(view: DataView, file: VideoFile, track: Track, depth = 0): void {
  if (depth > CONTAINERS.size) throw lie(file, "the parts of its index are nested without end");
  for (let at = 0; at + 8 <= view.byteLength; ) {
    const box = boxHeader(view, at, view.byteLength);
    if (!box || box.end > view.byteLength) throw lie(file, "a part of its index is longer than the index");
    const content = new DataView(view.buffer, view.byteOffset + box.start, box.end - box.start);
    if (CONTAINERS.has(box.name)) {
      const inner = box.name === "trak" ? newTrack() : track;
      checkBoxes(content, file, inner, depth + 1);
      if (box.name === "trak") checkTrack(inner, file);
    } else {
      checkTable(box.name, content, file, track);
    }
    at = box.end;
  }
}

/** "vide" in a handler box. */
const VIDEO_HANDLER = 0x76696465;

/** Bytes of one entry of the tables that are nothing but a count and entries (ISO 14496-12, 8.6 and 8.7). */
const ENTRY_BYTES: Readonly<Record<string, number>> = {
  stts: 8,
  ctts: 8,
  stss: 4,
  stsc: 12,
  stco: 4,
  co64: 8,
};

function checkTable(name: string, table: DataView, file: VideoFile, track: Track): void {
  const word = (at: number) => (at + 4 <= table.byteLength ? table.getUint32(at) : 0);
  const entryBytes = ENTRY_BYTES[name];
  if (entryBytes !== undefined && 8 + word(4) * entryBytes > table.byteLength) {
    throw lie(file, `its ${name} table claims ${word(4)} entries`);
  }
  const entries = () => sum(word(4), (i) => word(8 + 8 * i));
  if (name === "hdlr") track.isVideo ||= word(8) === VIDEO_HANDLER;
  if (name === "stts") track.timed += entries();
  if (name === "ctts") track.shifted += entries();
  if (name === "stsz") {
    const [size, count] = [word(4), word(8)];
    const needs = size === 0 ? 12 + 4 * count - table.byteLength : size * count - file.byteLength;
    if (needs > 0) throw lie(file, `its stsz table claims ${count} frames`);
    track.sized += count;
  }
  if (name === "stz2") track.sized += Math.min(word(8), 2 * table.byteLength); // 4 bits at least
  if (name === "stsc") track.chunked = mostSamplesInChunk(table);
  if (name === "trun" && word(4) > LIMITS.fragmentPackets) {
    throw lie(file, `a fragment claims ${word(4)} frames`);
  }
}

function mostSamplesInChunk(table: DataView): number {
  let most = 0;
  for (let at = 8; at + 12 <= table.byteLength; at += 12) most = Math.max(most, table.getUint32(at + 4));
  return most;
}

function checkTrack({ isVideo, timed, shifted, sized, chunked }: Track, file: VideoFile): void {
  if (!isVideo) return;
  if (timed > sized || shifted > LIMITS.videoPackets) {
    throw lie(file, `its index gives times to ${Math.max(timed, shifted)} frames but sizes to ${sized}`);
  }
  // Demuxers walk through a chunk to find the samples in it.
  if (chunked > sized) throw lie(file, `a chunk claims ${chunked} of its ${sized} frames`);
  if (timed > LIMITS.videoPackets) {
    throw new OryxError(
      "media_too_large",
      `${file.name} has ${timed} frames; ${LIMITS.videoPackets} are allowed`,
      "split the film, or lower its frame rate",
    );
  }
}

function sum(count: number, term: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += term(i);
  return total;
}

function cut(file: VideoFile): OryxError {
  return new OryxError(
    "media_malformed",
    `${file.name} has no complete index: it was cut off, or is still being written`,
    "fetch or record it again",
  );
}

function lie(file: VideoFile, what: string): OryxError {
  return new OryxError(
    "media_malformed",
    `${file.name} is damaged: ${what}`,
    "fetch it again, or repair it (ffmpeg -i in.mp4 -c copy out.mp4)",
  );
}
