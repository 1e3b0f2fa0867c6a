import { count } from "../core/figures.ts";
import type { ItemPlan, Plan } from "../engine/request.ts";

/** 12.3456 -> 12.3 */
export function tenths(n: number): number {
  return Math.round(10 * n) / 10;
}

/** 4.93e9 -> "4.9 GB" (powers of ten, as disks are sold) */
export function byteCount(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"] as const;
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return power === 0 ? `${bytes} bytes` : `${(bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}

/** 75.2 -> "1 min 16 s": rounded up, as waiting feels longer. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** Time left of work that goes on as it has: " · 8 s left", or nothing as long as that is a second or unknown. */
export function timeLeft(done: number, total: number, elapsedMs: number): string {
  const seconds = (elapsedMs / 1000) * ((total - done) / done);
  return done > 0 && seconds > 1 ? ` · ${duration(seconds)} left` : "";
}

const ITEMS_SHOWN = 3;

/** What a request will take: "video 64 frames at 448x256, k=2, 7,234 visual tokens, prompt 7,270 of 32,768" */
export function planLine({ items, visualTokens, promptTokens, cachedTokens, contextTokens }: Plan): string {
  const shown = items.map(itemWords);
  const media =
    items.length > ITEMS_SHOWN
      ? `${items.length} images and videos, ${count(visualTokens)} visual tokens`
      : shown.join("; ");
  const before = cachedTokens > 0 ? ` after ${count(cachedTokens)}` : "";
  return `${media}, prompt ${count(promptTokens)}${before} of ${count(contextTokens)}`;
}

function itemWords({ modality, frameTimesS, size, k, visualTokens }: ItemPlan): string {
  const what =
    modality === "image"
      ? "image"
      : `${modality.replace("video_long", "long video")} ${framesWords(frameTimesS)}`;
  return `${what} at ${size.width}x${size.height}, k=${k}, ${count(visualTokens)} visual tokens`;
}

const framesWords = (times: readonly number[] = []): string =>
  times.length === 1 ? "1 frame" : `${count(times.length)} frames`;
