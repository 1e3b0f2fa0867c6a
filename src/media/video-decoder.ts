import type { YuvImage, YuvMatrix } from "./colour.ts";

/** Codecs that a decoder may be asked for, named as FFmpeg names them. */
export type VideoCodec = "h264" | "hevc" | "vp8" | "vp9" | "av1";

/** What a film's container says about its pictures. */
export interface VideoDecoderConfig {
  codec: VideoCodec;
  /** The codec's own header (avcC, hvcC, av1C), where the container carries one. */
  description: Uint8Array | undefined;
  /** Stored size in pixels. */
  width: number;
  height: number;
  /** The container's colour tags; those in the pictures themselves come first. */
  matrix: YuvMatrix | undefined;
  fullRange: boolean | undefined;
}

/** One encoded picture, in the order of decoding. */
export interface VideoPacket {
  /** Comes back with the picture; unique within the film. */
  id: number;
  data: Uint8Array;
  isKey: boolean;
  /** Whether its picture is to be yielded. The others are decoded only as far as wanted ones depend on them. */
  isWanted: boolean;
}

/** A wanted picture. Its planes may be the decoder's own memory: they end with the next step of the generator. */
export interface DecodedPicture {
  id: number;
  image: YuvImage;
}

/**
 * Decodes one film, a packet at a time. This is all that Oryx asks of a decoder, so that another one can take the
 * place of the default, FFmpeg's libraries in node-av, which carry GPL code (see `video-node-av.ts`).
 * Generators must be run to their end, or left with `return`, before the next call.
 */
export interface VideoDecoder {
  /** Feeds a packet and yields the wanted pictures that are ready, in the order of showing. */
  decode(packet: VideoPacket): AsyncGenerator<DecodedPicture, void, undefined>;
  /** Yields the wanted pictures still inside; after it, decoding starts anew at a key packet. */
  flush(): AsyncGenerator<DecodedPicture, void, undefined>;
  /** Frees the decoder's memory, after the step in flight; a second call does nothing. */
  close(): Promise<void>;
}

/**
 * Makes a decoder.
 * @throws OryxError `media_no_decoder`: this codec cannot be decoded here
 */
export type VideoDecoderFactory = (config: VideoDecoderConfig) => Promise<VideoDecoder>;
