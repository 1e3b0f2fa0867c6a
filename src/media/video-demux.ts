import {
  CustomSource,
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
import { type Container, isMatroskaCut } from "./video-container.ts";
import type { VideoCodec, VideoDecoderConfig } from "./video-decoder.ts";
import type { VideoFile } from "./video-file.ts";
import { checkMp4 } from "./video-mp4.ts";
import type { Orientation } from "./video-orient.ts";

/** The frame on show at some moment, and the key packet from which decoding has to start for it. */
export interface Shot {
  id: number;
  /** In the container's time, not yet relative to the film's start. */
  timestampS: number;
  key: EncodedPacket;
}

/** A film's video track: what its headers say, and its packets. Packets are known by their `sequenceNumber`. */
export interface VideoTrack {
  readonly config: VideoDecoderConfig;
  readonly orientation: Orientation;
  /** Displayed size: stored size with the pixel aspect applied to its width, then turned. */
  readonly width: number;
  readonly height: number;
  /** Timestamp of the first frame that is shown, in the container's time. */
  readonly startS: number;
  /** From the first frame to the end of the last. */
  readonly durationS: number;
  /** The frame on show `timeS` seconds after the first frame. @throws OryxError `media_malformed` */
  shotAt(timeS: number): Promise<Shot>;
  /** A packet with its data; undefined at the end of the film, or of what is left of it. */
  withData(packet: EncodedPacket): Promise<EncodedPacket | undefined>;
  next(packet: EncodedPacket): Promise<EncodedPacket | undefined>;
  close(): void;
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

const METADATA = { metadataOnly: true };

/** Timestamps are exact fractions, times are rounded doubles: a frame's own time must find that frame. */
const TIME_TOLERANCE_S = 1e-6;

/**
 * Reads a film's headers and index. The file stays the caller's, who closes it after the track.
 * @returns the track, or undefined when the codec is none of {@link VideoCodec}
 * @throws OryxError `media_malformed`, `media_no_video`, `media_empty` (no frames), `media_too_large`
 */
export async function openTrack(file: VideoFile, container: Container): Promise<VideoTrack | undefined> {
  if (container === "mp4") await checkMp4(file);
  // The demuxer remarks on odd films on the console, which belongs to the program that we are part of.
  Logging.level = 0;
  const input = new Input({ source: sourceOf(file), formats: [MP4, QTFF, MATROSKA, WEBM] });
  try {
    const track = await input.getPrimaryVideoTrack();
    if (!track) {
      throw new OryxError("media_no_video", `${file.name} has no video track`, "is it a sound recording?");
    }
    const codec = CODECS[(await track.getCodec()) ?? ""];
    if (!codec) {
      input.dispose();
      return undefined;
    }
    const cut = container === "matroska" && (await isMatroskaCut(file));
    return await readTrack(track, codec, cut, file.name);
  } catch (cause) {
    input.dispose();
    throw damaged(file.name, cause);
  }
}

async function readTrack(
  track: InputVideoTrack,
  codec: VideoCodec,
  cut: boolean,
  name: string,
): Promise<VideoTrack> {
  const config = await decoderConfig(track, codec);
  const [width, height] = [await track.getDisplayWidth(), await track.getDisplayHeight()];
  checkSize(name, config.width, config.height);
  checkSize(name, width, height);

  const sink = new EncodedPacketSink(track);
  const first = await firstShown(sink);
  if (!first) throw new OryxError("media_empty", `${name} has no frames`, "was the recording cut off?");
  const startS = first.timestamp;
  const endS = await endOf(sink);
  // A cut Matroska file still states its whole length, and then asking for what is gone must fail.
  const wholeS = cut ? Math.max(endS, (await track.getDurationFromMetadata()) ?? endS) : endS;
  if (!Number.isFinite(startS) || !(wholeS >= startS)) throw damaged(name, new Error("impossible times"));

  return {
    config,
    orientation: { rotation: await track.getRotation(), mirrored: await track.getFlip() },
    width,
    height,
    startS,
    durationS: wholeS - startS,
    async shotAt(timeS) {
      const atS = startS + timeS + TIME_TOLERANCE_S;
      if (cut && atS >= endS) {
        throw damaged(name, new Error(`cut off ${(endS - startS).toFixed(1)} s after its start`));
      }
      const packet = (await shown(sink, codec, atS).catch(rethrow)) ?? first;
      const key = await sink.getKeyPacket(packet.timestamp, METADATA).catch(rethrow);
      return { id: packet.sequenceNumber, timestampS: packet.timestamp, key: key ?? first };
    },
    async withData(packet) {
      return (await sink.getPacket(packet.timestamp).catch(rethrow)) ?? undefined;
    },
    async next(packet) {
      return (await sink.getNextPacket(packet).catch(rethrow)) ?? undefined;
    },
    close: () => track.input.dispose(),
  };

  function rethrow(cause: unknown): never {
    throw damaged(name, cause);
  }
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
async function shown(sink: EncodedPacketSink, codec: VideoCodec, atS: number): Promise<EncodedPacket | null> {
  if (codec !== "vp8") return sink.getPacket(atS, METADATA);
  let packet = await sink.getPacket(atS);
  while (packet && !(packet.data[0]! & VP8_SHOW_FRAME)) {
    packet = await sink.getPacket(packet.timestamp - TIME_TOLERANCE_S);
  }
  return packet;
}

/** In the first byte of a VP8 frame (RFC 6386, 9.1). */
const VP8_SHOW_FRAME = 0x10;

function sourceOf(file: VideoFile): CustomSource {
  return new CustomSource({
    getSize: () => file.byteLength,
    read: (start, end) => file.read(start, end - start),
    prefetchProfile: "fileSystem",
    // A failed read-ahead fails again when its bytes are really wanted, and is reported then.
    handleUnhandledError: () => {},
  });
}

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
