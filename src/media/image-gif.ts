import { OryxError } from "../core/errors.ts";
import type { RgbImage } from "./media.ts";
import { inBands, STEP_OPERATIONS, type Steps } from "./steps.ts";

/**
 * GIF, first frame only, as Pillow sees it: transparent pixels have the colour that the palette gives them, and
 * so has what the frame leaves uncovered (libvips makes both black, and shows half a frame when data runs out).
 * Source: the GIF89a specification; https://www.w3.org/Graphics/GIF/spec-gif89a.txt
 */
export interface Gif {
  /** The canvas, grown where the first frame reaches over it. */
  width: number;
  height: number;
  frame: { left: number; top: number; width: number; height: number; interlaced: boolean };
  /** [up to 256, 3] */
  palette: Uint8Array;
  transparentIndex: number | undefined;
  /** Where the frame's LZW data begins, at its code size. */
  dataAt: number;
}

/**
 * Reads everything before the first frame's pixels.
 * @throws OryxError `media_malformed`
 */
export function readGifHeader(bytes: Uint8Array, name: string): Gif {
  const read = new GifReader(bytes, 6, name);
  const canvas = { width: read.u16(), height: read.u16() };
  const flags = read.u8();
  read.skip(2); // the background index, which no decoder of today uses, and the pixels' aspect
  const globalPalette = read.palette(flags);
  const transparentIndex = readUpToFrame(read);
  const [left, top, width, height] = [read.u16(), read.u16(), read.u16(), read.u16()];
  const frameFlags = read.u8();
  const localPalette = read.palette(frameFlags);
  if (width === 0 || height === 0) throw malformed(name, "its first frame has no pixels");
  return {
    width: Math.max(canvas.width, left + width),
    height: Math.max(canvas.height, top + height),
    frame: { left, top, width, height, interlaced: (frameFlags & 0x40) !== 0 },
    palette: localPalette ?? globalPalette ?? GREYS,
    transparentIndex,
    dataAt: read.at,
  };
}

/** A file without any palette holds greys. */
const GREYS = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));

/** Skips extensions up to the first image separator; returns the transparent index that one of them may set. */
function readUpToFrame(read: GifReader): number | undefined {
  let transparentIndex: number | undefined;
  for (;;) {
    const block = read.u8();
    if (block === 0x2c) return transparentIndex;
    if (block === 0x21) {
      const isGraphicControl = read.u8() === 0xf9;
      const content = read.subBlocks();
      if (isGraphicControl && content.length >= 4) {
        transparentIndex = content[0]! & 1 ? content[3]! : undefined;
      }
    } else if (block !== 0) {
      throw malformed(
        read.name,
        block === 0x3b ? "it ends before its first frame" : "it has an unknown block",
      );
    }
  }
}

/**
 * Decodes the first frame of a file whose header was read, and whose size the caller found bearable.
 * @throws OryxError `media_malformed`: bad codes, or fewer pixels than announced
 */
export function* decodeGif(bytes: Uint8Array, gif: Gif, name: string): Steps<RgbImage> {
  const { frame, width, height } = gif;
  const read = new GifReader(bytes, gif.dataAt, name);
  const codeBits = read.u8();
  if (codeBits < 1 || codeBits > 8) throw malformed(name, `its pixels have ${codeBits} bits`);
  const packed = read.subBlocks();
  const pixels = frame.width * frame.height;
  // One code has at least 2 bits and stands for at most 4096 pixels: a header that promises more lies.
  if (pixels > packed.length * 4 * TABLE_SIZE) throw malformed(name, "its data ends early");
  const indices = yield* unpackLzw(packed, codeBits, pixels, name);
  const colours = Uint8Array.from({ length: 768 }, (_, i) => gif.palette[i] ?? 0);
  const data = new Uint8Array(3 * width * height);
  if (frame.width !== width || frame.height !== height) {
    const c = 3 * (gif.transparentIndex ?? 0);
    yield* inBands(height, width, (begin, end) => {
      for (let i = 3 * width * begin; i < 3 * width * end; i++) data[i] = colours[c + (i % 3)]!;
    });
  }
  const rows = frame.interlaced ? interlacedRows(frame.height) : undefined;
  yield* inBands(frame.height, frame.width, (begin, end) => {
    for (let row = begin; row < end; row++) {
      let from = row * frame.width;
      let to = 3 * ((frame.top + (rows?.[row] ?? row)) * width + frame.left);
      for (let x = 0; x < frame.width; x++) {
        const c = 3 * indices[from++]!;
        data[to++] = colours[c]!;
        data[to++] = colours[c + 1]!;
        data[to++] = colours[c + 2]!;
      }
    }
  });
  return { width, height, data };
}

/** The order in which an interlaced frame stores its rows. */
function interlacedRows(height: number): number[] {
  const rows: number[] = [];
  for (const [first, step] of [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ] as const) {
    for (let y = first; y < height; y += step) rows.push(y);
  }
  return rows;
}

/** Codes have at most 12 bits. */
const TABLE_SIZE = 4096;

/**
 * LZW with codes of growing width, lowest bit first. Entry n of the table is the string of entry `prefix[n]` and
 * one more pixel; strings are written from their end.
 */
function* unpackLzw(packed: Uint8Array, codeBits: number, count: number, name: string): Steps<Uint8Array> {
  const clear = 1 << codeBits;
  const prefix = new Uint16Array(TABLE_SIZE);
  const last = Uint8Array.from({ length: TABLE_SIZE }, (_, i) => i);
  const first = last.slice();
  const length = new Uint16Array(TABLE_SIZE).fill(1);
  const out = new Uint8Array(count);
  let next = clear + 2;
  let width = codeBits + 1;
  let previous = -1;
  let bits = 0;
  let bitCount = 0;
  let at = 0;
  let pauseAt = STEP_OPERATIONS;
  for (let filled = 0; filled < count; ) {
    while (bitCount < width) {
      if (at === packed.length) throw malformed(name, "its data ends early");
      bits |= packed[at++]! << bitCount;
      bitCount += 8;
    }
    const code = bits & ((1 << width) - 1);
    bits >>>= width;
    bitCount -= width;
    if (code === clear) {
      next = clear + 2;
      width = codeBits + 1;
      previous = -1;
      continue;
    }
    if (code === clear + 1) throw malformed(name, "its data ends early");
    if (previous >= 0 && next < TABLE_SIZE && code <= next) {
      // The code may be the very entry that is being made: its string then begins as the previous one does.
      prefix[next] = previous;
      first[next] = first[previous]!;
      last[next] = code < next ? first[code]! : first[previous]!;
      length[next] = length[previous]! + 1;
      next++;
      if (next === 1 << width && width < 12) width++;
    }
    if (code >= (previous < 0 ? clear : next)) throw malformed(name, "its data is damaged");
    // A string may reach over the last pixel; writes past the end of a typed array go nowhere.
    for (let n = length[code]!, c = code; n > 0; c = prefix[c]!) out[filled + --n] = last[c]!;
    filled += length[code]!;
    previous = code;
    if (filled > pauseAt) {
      pauseAt = filled + STEP_OPERATIONS;
      yield;
    }
  }
  return out;
}

/** Reads little-endian numbers and GIF's own structures; running out of bytes is `media_malformed`. */
class GifReader {
  readonly bytes: Uint8Array;
  readonly name: string;
  at: number;

  constructor(bytes: Uint8Array, at: number, name: string) {
    this.bytes = bytes;
    this.at = at;
    this.name = name;
  }

  u8(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw malformed(this.name, "it ends early");
    return value;
  }

  u16(): number {
    return this.u8() | (this.u8() << 8);
  }

  skip(count: number): void {
    this.at += count;
    if (this.at > this.bytes.length) throw malformed(this.name, "it ends early");
  }

  /** The palette that a descriptor's flags announce, if any. */
  palette(flags: number): Uint8Array | undefined {
    if ((flags & 0x80) === 0) return undefined;
    const begin = this.at;
    this.skip(3 << ((flags & 7) + 1));
    return this.bytes.subarray(begin, this.at);
  }

  /** Blocks of up to 255 bytes, each after its length, until an empty one; joined. */
  subBlocks(): Uint8Array {
    const begin = this.at;
    let total = 0;
    for (let size = this.u8(); size > 0; size = this.u8()) {
      this.skip(size);
      total += size;
    }
    const joined = new Uint8Array(total);
    let to = 0;
    for (let from = begin; to < total; ) {
      const size = this.bytes[from++]!;
      joined.set(this.bytes.subarray(from, from + size), to);
      from += size;
      to += size;
    }
    return joined;
  }
}

function malformed(name: string, problem: string): OryxError {
  return new OryxError("media_malformed", `${name} is damaged: ${problem}`, "get or save the image again");
}
