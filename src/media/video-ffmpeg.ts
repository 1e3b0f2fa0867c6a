import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { FramesOptions, MediaSource, Video, VideoFrame } from "./media.ts";
import { resizeInSteps } from "./resize.ts";
import type { Container } from "./video-container.ts";
import { checkFrames } from "./video-request.ts";

/**
 * Opens a film with the system's `ffmpeg` and `ffprobe`: what is left for AVI, MPEG, WMV, FLV, and for codecs
 * that the usual way does not know. Rotation, pixel aspect and colour are ffmpeg's own work here.
 *
 * @throws OryxError `media_unsupported` (or `media_no_decoder`, when the container itself is a known one): there
 *   is no ffmpeg on the PATH, or it cannot open the film either; `media_no_video`, `media_empty`,
 *   `media_too_large`, `aborted`
 */
export async function openWithFfmpeg(
  source: MediaSource,
  name: string,
  container: Container,
  signal: AbortSignal | undefined,
): Promise<Video> {
  const film: Film = { name, container, ...(await asFile(source)) };
  try {
    const header = await probeStream(film, signal);
    return new FfmpegVideo(film, header, await probeTimes(film, header, signal));
  } catch (error) {
    await film.dispose();
    throw error;
  }
}

interface Film {
  name: string;
  container: Container;
  path: string;
  /** Removes the copy that bytes in memory were written to. */
  dispose(): Promise<void>;
}

/** ffmpeg needs to seek in its input, so bytes become a file for as long as the video is open. */
async function asFile(source: MediaSource): Promise<Pick<Film, "path" | "dispose">> {
  if (typeof source === "string") return { path: resolve(source), dispose: async () => {} };
  let folder = "";
  const dispose = () => rm(folder, { recursive: true, force: true });
  try {
    folder = await mkdtemp(join(tmpdir(), "oryx-video-"));
    const path = join(folder, "film");
    await writeFile(path, source.bytes);
    return { path, dispose };
  } catch (cause) {
    if (folder !== "") await dispose();
    const problem = `a film of ${source.bytes.length} bytes cannot be put below ${tmpdir()}: ${(cause as Error).message}`;
    throw new OryxError("disk", problem, "set TMPDIR to a folder with more room", { cause });
  }
}

// ------------------------------------------------------------------------------------------------ headers

interface Header {
  codec: string;
  width: number;
  height: number;
}

interface FrameTimes {
  /** Presentation times in the container's clock, ascending: frame n of the decoder is on show from `starts[n]`. */
  starts: Float64Array;
  endS: number;
}

/** Films may name other files and hosts to read (playlists, `concat:`): only this file, and only as a film. */
const GUARDS = [
  ...["-protocol_whitelist", "file,pipe"],
  ...["-format_whitelist", "avi,flv,asf,mpeg,mpegts,ogg,rm,mov,matroska,webm"],
];

async function probeStream(film: Film, signal: AbortSignal | undefined): Promise<Header> {
  const fields = "stream=codec_name,width,height,sample_aspect_ratio:stream_side_data=rotation";
  const lines: string[] = [];
  for await (const line of probe(film, fields, "default=noprint_wrappers=1", signal)) lines.push(line);
  const value = (key: string) => lines.find((line) => line.startsWith(`${key}=`))?.slice(key.length + 1);

  const codec = value("codec_name");
  if (!codec)
    throw new OryxError(
      "media_no_video",
      `${film.name} has no video track`,
      "is it a sound recording, or an empty recording?",
    );
  const [across = 1, down = 1] = (value("sample_aspect_ratio") ?? "").split(":").map(Number);
  const stored = { width: Number(value("width")), height: Number(value("height")) };
  const wide = { ...stored, width: Math.round(stored.width * (across > 0 && down > 0 ? across / down : 1)) };
  const sideways = Math.abs(Number(value("rotation") ?? 0)) % 180 === 90;
  const { width, height } = sideways ? { width: wide.height, height: wide.width } : wide;
  const fits = width > 0 && height > 0 && Math.max(width, height) <= LIMITS.imageSide;
  if (!fits || width * height > LIMITS.framePixels) {
    throw new OryxError(
      "media_too_large",
      `${film.name} has frames of ${width} x ${height} pixels`,
      "scale it down",
    );
  }
  return { codec, width, height };
}

async function probeTimes(
  film: Film,
  { codec }: Header,
  signal: AbortSignal | undefined,
): Promise<FrameTimes> {
  const starts: number[] = [];
  let durationS = 0;
  const fields = "packet=pts_time,dts_time,duration_time";
  for await (const line of probe(film, fields, "csv=p=0", signal)) {
    const [pts, dts, duration] = line.split(",").map(Number);
    const startS = Number.isFinite(pts) ? pts : dts;
    // AVI stores empty packets for frames that were dropped; they have no times of their own.
    if (startS === undefined || !Number.isFinite(startS)) continue;
    starts.push(startS);
    if (duration && Number.isFinite(duration)) durationS = duration;
    if (starts.length > LIMITS.videoPackets) {
      throw new OryxError(
        "media_too_large",
        `${film.name} has over ${LIMITS.videoPackets} frames`,
        "split it",
      );
    }
  }
  if (starts.length === 0) {
    throw new OryxError("media_empty", `${film.name} (${codec}) has no frames`, "was the recording cut off?");
  }
  const sorted = Float64Array.from(starts).sort();
  return { starts: sorted, endS: sorted.at(-1)! + durationS };
}

async function* probe(film: Film, fields: string, format: string, signal: AbortSignal | undefined) {
  const args = ["-v", "error", ...GUARDS, "-select_streams", "V:0", "-show_entries", fields, "-of", format];
  const child = await start(film, "ffprobe", [...args, `file:${film.path}`], signal);
  const ended = ending(child);
  try {
    for await (const line of createInterface({ input: child.stdout! })) {
      throwIfAborted(signal);
      yield line;
    }
    const { code, complaint } = await ended;
    throwIfAborted(signal);
    if (code !== 0) throw cannotOpen(film, complaint);
  } finally {
    child.kill("SIGKILL");
  }
}

// ------------------------------------------------------------------------------------------------- frames

/** Frames that one ffmpeg picks: their numbers go into one argument, and Linux allows 128 kB. */
const FRAMES_PER_RUN = 4000;
const EVEN_FPS = 25;

class FfmpegVideo implements Video {
  readonly width: number;
  readonly height: number;
  readonly durationS: number;
  readonly codec: string;
  readonly #film: Film;
  readonly #times: FrameTimes;
  readonly #children = new Set<ChildProcess>();
  #closed = false;

  constructor(film: Film, header: Header, times: FrameTimes) {
    this.width = header.width;
    this.height = header.height;
    this.codec = header.codec;
    this.durationS = times.endS - times.starts[0]!;
    this.#film = film;
    this.#times = times;
  }

  async *frames(
    timesS: readonly number[],
    { size, signal }: FramesOptions = {},
  ): AsyncGenerator<VideoFrame, void, undefined> {
    checkFrames(timesS, size);
    const { starts } = this.#times;
    const numbers = timesS.map((timeS) => frameOnShow(starts, starts[0]! + timeS));
    const pictures = this.#decode([...new Set(numbers)], signal);
    const target = size ?? this;
    let image: VideoFrame["image"] | undefined;
    try {
      for (const [index, number] of numbers.entries()) {
        if (!image || number !== numbers[index - 1]) {
          const { value: data } = await pictures.next();
          image = { width: this.width, height: this.height, data: data! };
          if (target !== this) image = await resizeInSteps(image, target.width, target.height, { signal });
        }
        yield { index, timeS: starts[number]! - starts[0]!, image };
      }
    } finally {
      await pictures.return();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const child of this.#children) child.kill("SIGKILL");
    await this.#film.dispose();
  }

  /** RGB bytes of the frames with these numbers, ascending. */
  async *#decode(numbers: readonly number[], signal: AbortSignal | undefined) {
    for (let i = 0; i < numbers.length; i += FRAMES_PER_RUN) {
      yield* this.#run(numbers.slice(i, i + FRAMES_PER_RUN), signal);
    }
  }

  async *#run(
    numbers: readonly number[],
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.#check(signal);
    const pick = numbers.map((n) => `eq(n,${n})`).join("+");
    // Picked frames get times in even steps, or some would be left out or shown twice: the option against that has had
    // another name in each of ffmpeg's last versions.
    const even = `settb=1/${EVEN_FPS},setpts=N`;
    const filter = `select='${pick}',${even},scale=${this.width}:${this.height},format=rgb24`;
    const args = [
      ...["-v", "error", "-nostdin", ...GUARDS, "-i", `file:${this.#film.path}`, "-map", "0:V:0"],
      ...["-vf", filter, "-r", `${EVEN_FPS}`, "-frames:v", `${numbers.length}`],
      ...["-f", "rawvideo", "pipe:1"],
    ];
    const child = await start(this.#film, "ffmpeg", args, signal);
    const ended = ending(child);
    this.#children.add(child);
    let sent = 0;
    try {
      for await (const frame of chunksOf(child.stdout!, 3 * this.width * this.height)) {
        this.#check(signal);
        sent++;
        yield frame;
      }
      this.#check(signal);
      if (sent === numbers.length) return;
      const { complaint } = await ended;
      throw cannotOpen(this.#film, complaint || `frame ${numbers[sent]} cannot be decoded`);
    } finally {
      child.kill("SIGKILL");
      this.#children.delete(child);
    }
  }

  #check(signal: AbortSignal | undefined): void {
    throwIfAborted(signal);
    if (this.#closed) throw new OryxError("closed", "the video was closed", "open it again");
  }
}

/** Number of the last frame that starts at or before a time; 0 before the first. */
function frameOnShow(starts: Float64Array, atS: number): number {
  let [low, high] = [0, starts.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle]! <= atS + 1e-6) low = middle;
    else high = middle;
  }
  return low;
}

/** A byte stream in pieces of one size; a last piece that is shorter is dropped. */
async function* chunksOf(
  stream: AsyncIterable<Buffer>,
  size: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let piece = new Uint8Array(size);
  let filled = 0;
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + size - filled);
      piece.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < size) continue;
      yield piece;
      piece = new Uint8Array(size);
      filled = 0;
    }
  }
}

// ---------------------------------------------------------------------------------------------- processes

/** Starts a program of the PATH, without a shell; the signal kills it. */
async function start(
  film: Film,
  program: "ffmpeg" | "ffprobe",
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<ChildProcess> {
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    killSignal: "SIGKILL",
    ...(signal && { signal }),
  });
  await new Promise<void>((started, failed) => {
    child.once("spawn", started);
    child.once("error", (cause: NodeJS.ErrnoException) => {
      failed(cause.code === "ENOENT" ? noFfmpeg(film, cause) : cannotStart(program, cause));
    });
  }).catch((error) => {
    throwIfAborted(signal);
    throw error;
  });
  return child;
}

/** How a program ended, with the first of its complaints. */
function ending(child: ChildProcess): Promise<{ code: number | null; complaint: string }> {
  let complaint = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    if (complaint.length < 500) complaint += text;
  });
  return new Promise((ended) => {
    child.once("close", (code) => ended({ code, complaint: complaint.split("\n", 1)[0]!.slice(0, 200) }));
  });
}

function noFfmpeg({ name, container }: Film, cause: unknown): OryxError {
  return container === "foreign"
    ? new OryxError(
        "media_unsupported",
        `${name} is a film in a container that needs ffmpeg, and no ffmpeg is on the PATH`,
        "install ffmpeg, or convert the film to mp4",
        { cause },
      )
    : new OryxError(
        "media_no_decoder",
        `${name} has a codec other than H.264, H.265, VP8, VP9 and AV1, and no ffmpeg is on the PATH`,
        "install ffmpeg, or convert the film to H.264",
        { cause },
      );
}

const cannotStart = (program: string, cause: Error): OryxError =>
  new OryxError("media_no_decoder", `${program} cannot be started: ${cause.message}`, "try again", { cause });

function cannotOpen({ name }: Film, complaint: string): OryxError {
  return new OryxError(
    "media_malformed",
    `ffmpeg cannot decode ${name}${complaint ? `: ${complaint}` : ""}`,
    "fetch the film again, or convert it to mp4",
  );
}
