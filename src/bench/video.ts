import { OryxError } from "../core/errors.ts";
import type { Size } from "../core/size.ts";
import { planMedia } from "../engine/media.ts";
import { openMedia } from "../node/media.ts";
import { type OnStep, type ProcessReport, processLine, Watch } from "./measure.ts";

export interface VideoBenchOptions {
  /** A video. */
  file: string;
  /** Frames at most, sampled at one a second or evenly, as for a question. */
  maxFrames: number;
  signal?: AbortSignal | undefined;
  onStep?: OnStep;
}

export interface VideoReport {
  bench: "video";
  file: string;
  codec: string;
  durationS: number;
  /** Displayed size of the film, and size at which frames are encoded, pixels. */
  source: Size;
  size: Size;
  frames: number;
  openMs: number;
  /** Decoding, converting and resizing all frames. */
  decodeMs: number;
  /** Bytes of RGB that came out, so that nothing was left undone. */
  rgbBytes: number;
  process: ProcessReport;
}

/**
 * Time from a video file to the frames that a question would see.
 * @throws OryxError `bad_option` when the file is no video, `media_*`, `aborted`
 */
export async function benchVideo(options: VideoBenchOptions): Promise<VideoReport> {
  const { file, maxFrames, signal, onStep = () => {} } = options;
  const start = performance.now();
  const opened = await openMedia(file, signal);
  const openMs = performance.now() - start;
  if (opened.kind !== "video") throw new OryxError("bad_option", `${file} is no video`, "give a video file");
  const { video } = opened;
  try {
    const { plan } = planMedia(opened, { maxFrames });
    const times = plan.frameTimesS ?? [];
    const watch = new Watch();
    let [frames, rgbBytes] = [0, 0];
    const decodeMs = await watch.timed(async () => {
      for await (const { image } of video.frames(times, { size: plan.size, signal })) {
        rgbBytes += image.data.length;
        onStep(`frame ${++frames} of ${times.length}`);
      }
    });
    const { codec, durationS } = video;
    const { source, size } = plan;
    const figures = { frames, openMs, decodeMs, rgbBytes, process: watch.report() };
    return { bench: "video", file, codec, durationS, source, size, ...figures };
  } finally {
    await video.close();
  }
}

/** The report as text. */
export function videoTable(report: VideoReport): string {
  const { file, codec, durationS, source, size, frames, openMs, decodeMs } = report;
  return [
    `${file}: ${codec}, ${source.width}x${source.height}, ${durationS.toFixed(1)} s`,
    `${frames} frames at ${size.width}x${size.height} in ${decodeMs.toFixed(0)} ms (${(decodeMs / frames).toFixed(0)} ms each), opened in ${openMs.toFixed(0)} ms`,
    processLine(report.process),
  ].join("\n");
}
