import {
  type EncodedPacket,
  EncodedPacketSink,
  Input,
  type InputVideoTrack,
  Logging,
  MATROSKA,
  MP4,
  QTFF,
  WEBM,
} from "mediabunny";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { YuvMatrix } from "./colour.ts";
import type { VideoPace } from "./media.ts";
import { type Container, isMatroskaCut } from "./video-container.ts";
import type { VideoCodec, VideoDecoderConfig } from "./video-decoder.ts";
import type { VideoFile } from "./video-file.ts";
import { checkMp4 } from "./video-mp4.ts";
import type { Orientation } from "./video-orient.ts";
import { MeteredSource } from "./video-source.ts";

/** The frame on show at some moment, and the key packet from which decoding has to start for it. */
export interface Shot {
  id: number;
  /** In the container's time, not yet relative to the film's start. */
  timestampS: number;
  key: EncodedPacket;
}

const CODECS: Readonly<Record<string, VideoCodec>> = {
  avc: "h264",
  hevc: "hevc",
  vp8: "vp8",
  vp9: "vp9",
  av1: "av1",
};

const MATRICES: Readonly<Record<string, YuvMatrix>> = {
  bt709: "bt709",
  smpte170m: "bt601",
  bt470bg: "bt601",
  "bt2020-ncl": "bt2020",
};

/** Places in a film at which its pace is looked up, as shares of it. */
const PACE_SAMPLES = [0, 0.3, 0.6, 0.9];

/** Frames a second of a film that does not say how long each is on show. */
const USUAL_RATE = 30;

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

const METADATA = { metadataOnly: true };

/** Timestamps are exact fractions, times are rounded doubles: a frame's own time must find that frame. */
const TIME_TOLERANCE_S = 1e-6;

/**
 * Reads a film's headers and index. The file stays the caller's, who closes it after the track.
 * @returns the track, or undefined when the codec is none of {@link VideoCodec}
 * @throws OryxError `media_malformed`, `media_no_video`, `media_empty` (no frames), `media_too_large`
 */
export async function openTrack(file: VideoFile, container: Container): Promise<VideoTrack | undefined> {
  const isCut = container === "mp4" ? await checkMp4(file) : await isMatroskaCut(file);
  // The demuxer remarks on odd films on the console, which belongs to the program that we are part of.
  Logging.level = 0;
  const source = new MeteredSource(file);
  const input = new Input({ source: source.source, formats: [MP4, QTFF, MATROSKA, WEBM] });
  try {
    const track = await input.getPrimaryVideoTrack();
    if (!track) {
      throw new OryxError(
        "media_no_video",
        `${file.name} has no video track`,
        "is it a sound recording, or an empty recording?",
      );
    }
    const codec = CODECS[(await track.getCodec()) ?? ""];
    if (codec)
      return new VideoTrack(file.name, source, track, await readHeader(track, codec, isCut, file.name));
    input.dispose();
    return undefined;
  } catch (cause) {
    input.dispose();
    throw damaged(file.name, cause);
  }
}

/** What a film's headers and index say. */
interface Header {
  config: VideoDecoderConfig;
  orientation: Orientation;
  /** Displayed size: stored size with the pixel aspect applied to its width, then turned. */
  width: number;
  height: number;
  first: EncodedPacket;
  /** End of the last frame that is there, in the container's time. */
  endS: number;
  /** From the first frame to the end of the last, there or not. */
  durationS: number;
  /** The file ends before its last frame does. */
  isCut: boolean;
}

/** A film's video track. Its packets are known by their `sequenceNumber`. */
export class VideoTrack {
  readonly header: Header;
  /** The film's, for messages. */
  readonly name: string;
  readonly #source: MeteredSource;
  readonly #track: InputVideoTrack;
  readonly #sink: EncodedPacketSink;

  constructor(name: string, source: MeteredSource, track: InputVideoTrack, header: Header) {
    this.header = header;
    this.name = name;
    this.#source = source;
    this.#track = track;
    this.#sink = new EncodedPacketSink(track);
  }

  /** Timestamp of the first frame that is shown, in the container's time. */
  get startS(): number {
    return this.header.first.timestamp;
  }

  /** The frame on show `timeS` seconds after the first frame. @throws OryxError `media_malformed` */
  async shotAt(timeS: number): Promise<Shot> {
    const { first, endS, isCut, config } = this.header;
    const atS = this.startS + timeS + TIME_TOLERANCE_S;
    if (isCut && atS >= endS) {
      throw damaged(
        this.name,
        new Error(`it is cut off ${(endS - this.startS).toFixed(1)} s after its start`),
      );
    }
    return this.#ask(async (sink) => {
      const packet = (await onShow(sink, config.codec, atS)) ?? first;
      const key = (await sink.getKeyPacket(packet.timestamp, METADATA)) ?? first;
      return { id: packet.sequenceNumber, timestampS: packet.timestamp, key };
    });
  }

  /** How many frames a second there are, and how far key frames lie apart: looked up at a few places. */
  async pace(): Promise<VideoPace> {
    const { first, endS, durationS } = this.header;
    const [frames, intervals]: [number[], number[]] = [[], []];
    for (const share of PACE_SAMPLES) {
      await this.#ask(async (sink) => {
        const packet = (await sink.getPacket(first.timestamp + share * durationS, METADATA)) ?? first;
        const key = (await sink.getKeyPacket(packet.timestamp, METADATA)) ?? first;
        const next = await sink.getNextKeyPacket(key, METADATA);
        if (packet.duration > 0) frames.push(packet.duration);
        intervals.push(Math.max(0, (next?.timestamp ?? endS) - key.timestamp));
      });
    }
    const frameS = frames.length > 0 ? mean(frames) : 0;
    return { framesPerSecond: frameS > 0 ? 1 / frameS : USUAL_RATE, keyIntervalS: mean(intervals) };
  }

  /** A packet with its data; null when the file ends before it. @throws OryxError `media_malformed` */
  withData(packet: EncodedPacket): Promise<EncodedPacket | null> {
    return this.#ask((sink) => sink.getPacket(packet.timestamp));
  }

  /** The next packet in the order of decoding, with its data; null at the end. @throws OryxError `media_malformed` */
  next(packet: EncodedPacket): Promise<EncodedPacket | null> {
    return this.#ask((sink) => sink.getNextPacket(packet));
  }

  close(): void {
    this.#track.input.dispose();
  }

  async #ask<T>(question: (sink: EncodedPacketSink) => Promise<T>): Promise<T> {
    this.#source.refill();
    try {
      return await question(this.#sink);
    } catch (cause) {
      throw damaged(this.name, cause);
    }
  }
}

async function readHeader(
  track: InputVideoTrack,
  codec: VideoCodec,
  isCut: boolean,
  name: string,
): Promise<Header> {
  const config = await decoderConfig(track, codec);
  const [width, height] = [await track.getDisplayWidth(), await track.getDisplayHeight()];
  checkSize(name, config.width, config.height);
  checkSize(name, width, height);

  const sink = new EncodedPacketSink(track);
  const first = await firstShown(sink);
  if (!first && isCut) throw damaged(name, new Error("it is cut off before its first frame"));
  if (!first) throw new OryxError("media_empty", `${name} has no frames`, "was the recording cut off?");
  const endS = await endOf(sink);
  // A file that was cut may still state its whole length, and then asking for what is gone must fail.
  const statedS = isCut ? await track.getDurationFromMetadata() : null;
  const durationS = Math.max(endS, statedS ?? endS) - first.timestamp;
  if (!Number.isFinite(durationS) || durationS < 0) throw damaged(name, new Error("its times make no sense"));

  const orientation = { rotation: await track.getRotation(), mirrored: await track.getFlip() };
  return { config, orientation, width, height, first, endS, durationS, isCut };
}

async function decoderConfig(track: InputVideoTrack, codec: VideoCodec): Promise<VideoDecoderConfig> {
  const config = await track.getDecoderConfig();
  const colour = await track.getColorSpace();
  return {
    codec,
    description: config?.description && bytesOf(config.description),
    width: await track.getCodedWidth(),
    height: await track.getCodedHeight(),
    matrix: MATRICES[colour.matrix ?? ""],
    fullRange: colour.fullRange ?? undefined,
  };
}

function bytesOf(source: AllowSharedBufferSource): Uint8Array {
  return ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source);
}

/** The first frame, or, where an edit list trims frames off the start, the one on show at 0. */
async function firstShown(sink: EncodedPacketSink): Promise<EncodedPacket | null> {
  const first = await sink.getFirstPacket(METADATA);
  return first && first.timestamp < 0 ? ((await sink.getPacket(0, METADATA)) ?? first) : first;
}

/** End of the last frame; where its duration is not stored, as long as the frame before it. */
async function endOf(sink: EncodedPacketSink): Promise<number> {
  const last = (await sink.getPacket(Number.POSITIVE_INFINITY, METADATA))!;
  if (last.duration > 0) return last.timestamp + last.duration;
  const before = await sink.getPacket(last.timestamp - TIME_TOLERANCE_S, METADATA);
  return before ? 2 * last.timestamp - before.timestamp : last.timestamp;
}

/** The packet on show at a time. VP8 has packets that only prepare later ones: those are never on show. */
async function onShow(
  sink: EncodedPacketSink,
  codec: VideoCodec,
  atS: number,
): Promise<EncodedPacket | null> {
  if (codec !== "vp8") return sink.getPacket(atS, METADATA);
  let packet = await sink.getPacket(atS);
  while (packet && !(packet.data[0]! & VP8_SHOW_FRAME)) {
    packet = await sink.getPacket(packet.timestamp - TIME_TOLERANCE_S);
  }
  return packet;
}

/** In the first byte of a VP8 frame (RFC 6386, 9.1). */
const VP8_SHOW_FRAME = 0x10;

function checkSize(name: string, width: number, height: number): void {
  const whole = Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0;
  if (!whole) throw damaged(name, new Error(`frames of ${width} x ${height} pixels`));
  if (Math.max(width, height) > LIMITS.imageSide || width * height > LIMITS.framePixels) {
    throw new OryxError(
      "media_too_large",
      `${name} has frames of ${width} x ${height} pixels; ${LIMITS.framePixels} pixels are allowed`,
      "scale the film down",
    );
  }
}

/** Our own errors as they are; whatever the demuxer stumbled over as damage. */
function damaged(name: string, cause: unknown): OryxError {
  if (cause instanceof OryxError) return cause;
  const why = cause instanceof Error && cause.message ? `: ${cause.message}` : "";
  return new OryxError("media_malformed", `${name} is damaged${why}`, "fetch the film again, or repair it", {
    cause,
  });
}
