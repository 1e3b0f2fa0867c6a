import type { PromptToken } from "../text/prompt.ts";
import { pictureCount } from "./encode.ts";
import { type Featured, features, type Identified, identify } from "./features.ts";
import type { KvSlot } from "./kv.ts";
import type { PlannedMedia } from "./media.ts";
import type { EngineParts } from "./parts.ts";
import { recall, remember, type Segment, segmentsOf, snapshotOf, type Trail, trailAfter } from "./prefix.ts";
import type { Reused, Stage, TurnRequest } from "./request.ts";
import type { Stretch } from "./sequence.ts";
import type { Stopwatch } from "./stopwatch.ts";

/** A prompt on its way into a slot: first {@link look}, with the media open, then {@link read}. */
export class PromptReading {
  readonly #parts: EngineParts;
  readonly #slot: KvSlot;
  readonly #request: Pick<TurnRequest, "signal" | "onProgress">;
  readonly #watch: Stopwatch;
  #media: Identified[] = [];
  /** Rows of the visuals that are still to be read, by their numbers. */
  readonly #featured = new Map<number, Featured>();
  /** Times of the frames that were used of each visual, in seconds. */
  readonly #timesS = new Map<number, readonly number[]>();
  #segments: Segment[] = [];
  #trail: Trail;
  #promptTokens = 0;
  readonly #reused = { pictures: 0, promptTokens: 0 };

  /** @param trail what the slot holds */
  constructor(
    parts: EngineParts,
    slot: KvSlot,
    trail: Trail,
    request: Pick<TurnRequest, "signal" | "onProgress">,
    watch: Stopwatch,
  ) {
    this.#parts = parts;
    this.#slot = slot;
    this.#trail = trail;
    this.#request = request;
    this.#watch = watch;
  }

  /** What the slot holds. */
  get trail(): Trail {
    return this.#trail;
  }

  /** Times of the frames that were used, in seconds, of each video in order. */
  get frameTimesS(): (readonly number[])[] {
    return this.#media.flatMap(({ planned }, visual) =>
      planned.opened.kind === "video" ? [this.#timesS.get(visual) ?? []] : [],
    );
  }

  /** What did not have to be done again. */
  get reused(): Reused {
    return this.#reused;
  }

  /** Finds what is kept of the prompt, and decodes and encodes the media of the rest. */
  async look(prompt: readonly PromptToken[], media: readonly PlannedMedia[]): Promise<void> {
    const { caching } = this.#parts;
    const { signal } = this.#request;
    this.#segments = segmentsOf(
      prompt,
      media.map(({ plan }) => plan.visualTokens),
    );
    this.#promptTokens = this.#segments.reduce((sum, { length }) => sum + length, 0);
    await this.#watch.timed("decode", async () => {
      for (const planned of media) this.#media.push(await identify(planned, caching, signal));
    });
    await this.#watch.timed("prefill", async () => {
      while (await this.#recallNext());
    });
    await this.#encode(media);
  }

  /** Feeds what is not kept. @returns logits [vocabulary] behind the prompt */
  async read(): Promise<Float32Array> {
    const { decoder } = this.#parts;
    const { signal, onProgress } = this.#request;
    const total = this.#promptTokens;
    let done = this.#reused.promptTokens;
    let logits: Float32Array = new Float32Array(0);
    await this.#watch.timed("prefill", async () => {
      for (const segment of this.#segments) {
        const from = done;
        const onDone = (n: number) => {
          done = from + n;
          onProgress?.({ stage: "prefill", done, total });
        };
        const start = performance.now();
        const stretches = this.#stretches(segment);
        logits = await decoder.prefill(this.#slot, stretches, { signal, onProgress: onDone });
        await this.#noteRead(segment, performance.now() - start);
      }
    });
    return logits;
  }

  /** Takes the next segment from what is kept. */
  async #recallNext(): Promise<boolean> {
    const { caching } = this.#parts;
    const { signal } = this.#request;
    const [segment] = this.#segments;
    if (segment === undefined) return false;
    const trail = trailAfter(this.#trail, segment, this.#media);
    const snapshot = await snapshotOf(segment, trail, this.#media, this.#parts, signal);
    if (caching === undefined || snapshot === undefined) return false;
    if (!(await recall(this.#slot, segment, snapshot, caching, signal))) return false;
    segment.visuals.forEach((visual, i) => {
      this.#timesS.set(visual, [...(snapshot.frameTimesS[i] ?? [])]);
      this.#reused.pictures += pictureCount((this.#media[visual] as Identified).planned);
    });
    this.#reused.promptTokens += segment.length;
    this.#segments.shift();
    this.#trail = trail;
    return true;
  }

  /** Counts a segment as read, and keeps it. */
  async #noteRead(segment: Segment, ms: number): Promise<void> {
    const { caching } = this.#parts;
    const { signal } = this.#request;
    this.#trail = trailAfter(this.#trail, segment, this.#media);
    const snapshot = await snapshotOf(segment, this.#trail, this.#media, this.#parts, signal);
    if (caching === undefined || snapshot === undefined) return;
    segment.visuals.forEach((visual, i) => {
      snapshot.frameTimesS[i]?.set(this.#timesS.get(visual) ?? []);
    });
    await remember(this.#slot, segment, snapshot, caching, ms, signal);
  }

  /** Rows of all media that are still to be read, one after the other. */
  async #encode(media: readonly PlannedMedia[]): Promise<void> {
    const { encoder, caching } = this.#parts;
    const { signal } = this.#request;
    const total = media.reduce((sum, planned) => sum + pictureCount(planned), 0);
    let before = this.#reused.pictures;
    const tell = (stage: Stage, done: number) =>
      this.#request.onProgress?.({ stage, done: before + done, total });
    if (before > 0) for (const stage of ["decode", "encode"] as const) tell(stage, 0);
    for (const visual of this.#segments.flatMap(({ visuals }) => visuals)) {
      const identified = this.#media[visual] as Identified;
      const options = { signal, onProgress: tell, timed: this.#watch.timed };
      const featured = await features(identified, encoder, caching, options);
      const pictures = pictureCount(identified.planned);
      before += pictures;
      if (featured.isReused) this.#reused.pictures += pictures;
      // What was hashed must be what was decoded, or keys and values would be kept under another file's name.
      this.#media[visual] = { ...identified, key: featured.key };
      this.#featured.set(visual, featured);
      this.#timesS.set(visual, featured.frameTimesS);
    }
  }

  /** A segment with its visuals in place; neighbouring ids joined. */
  #stretches({ tokens }: Segment): Stretch[] {
    const out: Stretch[] = [];
    let ids: number[] = [];
    for (const token of tokens) {
      if (typeof token === "number") ids.push(token);
      else {
        out.push({ ids }, (this.#featured.get(token.visual) as Featured).sequence);
        ids = [];
      }
    }
    return [...out, { ids }];
  }
}
