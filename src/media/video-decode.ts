import type { EncodedPacket } from "mediabunny";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import type { DecodedPicture, VideoDecoder } from "./video-decoder.ts";
import type { Shot, VideoTrack } from "./video-demux.ts";

/**
 * Decodes chosen frames of a film, and little else.
 *
 * Frames that hang on the same key packet form a run, which is decoded once, from its key packet to the last
 * frame wanted; then decoding jumps to the next run's key packet, unless it is the very next packet anyway.
 * Sparse frames so cost half a group of pictures each, dense ones a single pass over the film.
 *
 * @param shots in the order of showing, without repeats
 * @returns one picture per shot, in order; each is gone with the generator's next step
 * @throws OryxError `media_malformed`: a frame is missing or damaged; `aborted`
 */
export async function* decodeShots(
  track: VideoTrack,
  decoder: VideoDecoder,
  shots: readonly Shot[],
  signal: AbortSignal | undefined,
): AsyncGenerator<DecodedPicture, void, undefined> {
  let due = 0;
  for await (const picture of decodePackets(track, decoder, shots, signal)) {
    if (picture.id !== shots[due]?.id) break;
    due++;
    yield picture;
    if (due === shots.length) return;
  }
  const atS = (shots[due]?.timestampS ?? 0) - track.startS;
  throw new OryxError(
    "media_malformed",
    `${track.name} is damaged or cut off: its frame at ${atS.toFixed(3)} s cannot be decoded`,
    "fetch the film again, or ask for frames before this one",
  );
}

async function* decodePackets(
  track: VideoTrack,
  decoder: VideoDecoder,
  shots: readonly Shot[],
  signal: AbortSignal | undefined,
): AsyncGenerator<DecodedPicture, void, undefined> {
  const wanted = new Set(shots.map((shot) => shot.id));
  let sent: EncodedPacket | undefined;
  for (const { key, lastId } of runs(shots)) {
    if (sent && lastId <= sent.sequenceNumber) continue;
    let packet: EncodedPacket | null = sent ? await track.next(sent) : null;
    if (!packet || packet.sequenceNumber < key.sequenceNumber) {
      if (sent) yield* decoder.flush();
      packet = await track.withData(key);
    }
    while (packet) {
      throwIfAborted(signal);
      const id: number = packet.sequenceNumber;
      yield* decoder.decode({
        id,
        data: packet.data,
        isKey: packet.type === "key",
        isWanted: wanted.has(id),
      });
      sent = packet;
      packet = id < lastId ? await track.next(packet) : null;
    }
  }
  yield* decoder.flush();
}

/** Groups shots by key packet; `lastId` is the last packet in decoding order that a run needs. */
function runs(shots: readonly Shot[]): { key: EncodedPacket; lastId: number }[] {
  const found: { key: EncodedPacket; lastId: number }[] = [];
  for (const { key, id } of shots) {
    const run = found.at(-1);
    if (run?.key.sequenceNumber === key.sequenceNumber) run.lastId = Math.max(run.lastId, id);
    else found.push({ key, lastId: id });
  }
  return found;
}
