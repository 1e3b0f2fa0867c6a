import { count } from "../core/figures.ts";
import { textTable } from "../core/text-table.ts";
import type { ItemPlan, Plan } from "../engine/request.ts";
import { duration } from "./words.ts";

const HEAD = ["file", "as", "of", "size", "frames", "a second", "k", "encoded at", "tokens"];

/** What a request takes, as a table with a row for each image or video, and why. */
export function planText(plan: Plan): string {
  const { items, visualTokens, promptTokens, cachedTokens, contextTokens, maxTokens, reasons } = plan;
  const table = items.length > 0 ? [textTable([HEAD, ...items.map(cells)])] : [];
  const before = cachedTokens > 0 ? ` after ${count(cachedTokens)} of the conversation` : "";
  const sum = `prompt ${count(promptTokens)} tokens, ${count(visualTokens)} of them visual,${before} of ${count(contextTokens)}; answer up to ${count(maxTokens)}`;
  return [...table, sum, ...timeLines(plan), ...reasons.map((reason) => `- ${reason}`)].join("\n");
}

function cells({
  name,
  modality,
  source,
  durationS,
  frameTimesS,
  fps,
  k,
  size,
  overview,
  visualTokens,
}: ItemPlan) {
  return [
    name,
    modality.replace("video_long", "long video"),
    durationS === undefined ? "" : duration(durationS),
    `${source.width}x${source.height}`,
    frameTimesS === undefined ? "" : count(frameTimesS.length),
    fps === undefined ? "" : `${Number(fps.toPrecision(2))}`,
    `${k}`,
    `${size.width}x${size.height}${overview ? ` + ${overview.width}x${overview.height}` : ""}`,
    count(visualTokens),
  ];
}

function timeLines({ seconds }: Plan): string[] {
  if (seconds === undefined) return [];
  const told = (s: number) => `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  const { decode, encode, prefill } = seconds;
  return [
    `about ${told(decode + encode + prefill)} to the first word, if nothing is cached: decode ${told(decode)}, encode ${told(encode)}, prefill ${told(prefill)}`,
  ];
}
