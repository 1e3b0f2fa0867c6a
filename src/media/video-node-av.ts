import { availableParallelism } from "node:os";
import type { AVPixelFormat } from "node-av/constants";
import type { CodecContext, Frame, Packet } from "node-av/lib";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { DecodedPicture, VideoDecoder, VideoDecoderConfig, VideoPacket } from "./video-decoder.ts";
import { type AvPicture, yuvImage } from "./video-pixel-format.ts";

/**
 * The default decoder: libavcodec, through node-av.
 *
 * node-av's prebuilt library contains FFmpeg with x264 and x265 and is therefore under the GPL, although Oryx
 * itself is not and only ever decodes. Who cannot ship GPL code passes another {@link VideoDecoderFactory}.
 *
 * libavcodec is driven directly rather than through `@mediabunny/server`, which decodes on one thread, cannot
 * leave out the pictures that nothing depends on, and does not report damage.
 *
 * @throws OryxError `media_no_decoder`: node-av is not installed, or does not know the codec
 */
export async function nodeAvDecoder(config: VideoDecoderConfig): Promise<VideoDecoder> {
  const [av, constants] = await Promise.all([import("node-av/lib"), import("node-av/constants")]).catch(
    (cause: unknown) => {
      throw noDecoder("the video decoder node-av cannot be loaded on this machine", cause);
    },
  );
  // libavcodec writes every oddity of a film to stderr by itself; what matters comes back as error codes.
  av.Log.setLevel(constants.AV_LOG_QUIET);
  const codec = av.Codec.findDecoder(
    {
      h264: constants.AV_CODEC_ID_H264,
      hevc: constants.AV_CODEC_ID_HEVC,
      vp8: constants.AV_CODEC_ID_VP8,
      vp9: constants.AV_CODEC_ID_VP9,
      av1: constants.AV_CODEC_ID_AV1,
    }[config.codec],
  );
  if (!codec) throw noDecoder(`node-av has no decoder for ${config.codec}`);

  const context = new av.CodecContext();
  context.allocContext3(codec);
  context.width = config.width;
  context.height = config.height;
  if (config.description) context.extraData = Buffer.from(config.description);
  context.threadCount = Math.min(availableParallelism(), MAX_THREADS);
  // The pictures' own headers can claim another size than the container's, which was checked before.
  context.setOption("max_pixels", LIMITS.framePixels);
  const status = await context.open2(codec, null);
  if (status < 0) {
    context.freeContext();
    throw malformed(`the decoder refuses the film's ${config.codec} header (libav status ${status})`);
  }
  return new NodeAvDecoder(av, context, config);
}

type NodeAv = typeof import("node-av/lib");

/** Each thread holds a few pictures of its own: more would cost memory faster than they bring speed. */
const MAX_THREADS = 4;

/** libav's AVERROR(EAGAIN) on Linux and Windows, AVERROR(EAGAIN) on macOS, and AVERROR_EOF. */
const NOTHING_READY: ReadonlySet<number> = new Set([-11, -35, -541_478_725]);

/** AV_FRAME_FLAG_CORRUPT. */
const CORRUPT = 1;

class NodeAvDecoder implements VideoDecoder {
  readonly #av: NodeAv;
  readonly #context: CodecContext;
  readonly #frame: Frame;
  readonly #packet: Packet;
  readonly #config: VideoDecoderConfig;
  readonly #wanted = new Set<bigint>();
  /** The call into libav that runs on another thread; memory must not be freed under it. */
  #inFlight: Promise<number> = Promise.resolve(0);
  /** Damage since the last key frame: every later picture may show it. */
  #damaged = false;
  #closed = false;

  constructor(av: NodeAv, context: CodecContext, config: VideoDecoderConfig) {
    this.#av = av;
    this.#context = context;
    this.#config = config;
    this.#frame = new av.Frame();
    this.#frame.alloc();
    this.#packet = new av.Packet();
    this.#packet.alloc();
  }

  async *decode({ id, data, isKey, isWanted }: VideoPacket): AsyncGenerator<DecodedPicture, void, undefined> {
    const pts = BigInt(id);
    if (isWanted) this.#wanted.add(pts);
    this.#packet.data = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    this.#packet.pts = pts;
    this.#packet.isKeyframe = isKey;
    // A picture that no other depends on is left out unless somebody wants to see it.
    this.#context.setOption("skip_frame", isWanted ? "default" : "noref");
    const status = await this.#call(() => this.#context.sendPacket(this.#packet));
    this.#packet.unref();
    if (status < 0 && !NOTHING_READY.has(status)) this.#damaged = true;
    yield* this.#ready();
  }

  async *flush(): AsyncGenerator<DecodedPicture, void, undefined> {
    await this.#call(() => this.#context.sendPacket(null));
    yield* this.#ready();
    this.#context.flushBuffers();
    this.#wanted.clear();
    this.#damaged = false;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#inFlight;
    this.#context.freeContext();
    this.#frame.free();
    this.#packet.free();
  }

  async *#ready(): AsyncGenerator<DecodedPicture, void, undefined> {
    for (;;) {
      const status = await this.#call(() => this.#context.receiveFrame(this.#frame));
      if (status < 0) {
        if (!NOTHING_READY.has(status)) this.#damaged = true;
        return;
      }
      try {
        const picture = this.#look();
        if (picture) yield picture;
      } finally {
        if (!this.#closed) this.#frame.unref();
      }
    }
  }

  /** The picture that has just come out, if it is wanted and sound. */
  #look(): DecodedPicture | undefined {
    const frame = this.#frame;
    if (frame.keyFrame) this.#damaged = false;
    if (frame.decodeErrorFlags !== 0 || (frame.flags & CORRUPT) !== 0) this.#damaged = true;
    if (!this.#wanted.delete(frame.pts)) return undefined;
    if (this.#damaged) throw malformed("a picture of the film is damaged");
    return { id: Number(frame.pts), image: yuvImage(this.#view(frame), this.#config) };
  }

  #view(frame: Frame): AvPicture {
    return {
      width: frame.width,
      height: frame.height,
      format: this.#av.avGetPixFmtName(frame.format as AVPixelFormat) ?? "unknown",
      planes: frame.data ?? [],
      linesize: frame.linesize,
      colourSpace: frame.colorSpace,
      colourRange: frame.colorRange,
    };
  }

  #call(step: () => Promise<number>): Promise<number> {
    if (this.#closed) throw new OryxError("closed", "the video was closed", "open it again");
    this.#inFlight = step();
    return this.#inFlight;
  }
}

function noDecoder(problem: string, cause?: unknown): OryxError {
  return new OryxError(
    "media_no_decoder",
    problem,
    "reinstall with optional dependencies, or pass another decoder",
    { cause },
  );
}

function malformed(problem: string): OryxError {
  return new OryxError("media_malformed", problem, "check the film with another player, or fetch it again");
}
