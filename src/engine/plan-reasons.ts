import { count } from "../core/figures.ts";
import type { Size } from "../core/size.ts";
import { DEFAULT_COMPRESSION, PAPER } from "../model/visual.ts";
import type { PlannedItem, Settings, WantedItem } from "./plan-item.ts";
import { ORDERS, type PlanRequest, type Sacrifice, totalOf, type Usage } from "./plan-request.ts";

/** An item as it was wanted, what became of it, and how that is encoded. */
export interface DecidedItem {
  wanted: WantedItem;
  settings: Settings;
  planned: PlannedItem;
}

/** Items that are told of one by one. */
const ITEMS_TOLD = 8;

/**
 * Why a plan is as it is, in sentences: each item's frames, compression and size, then what the budget did.
 * @param used what the plan takes
 * @param paper what it would take without a budget
 */
export function planReasons(
  items: readonly DecidedItem[],
  used: Usage,
  paper: Usage,
  request: PlanRequest,
): string[] {
  const told = items.slice(0, ITEMS_TOLD).flatMap((item) => {
    const parts = [...framesReason(item), compressionReason(item), sizeReason(item)];
    return parts.map((part) => `${item.wanted.header.name}: ${part}.`);
  });
  const left = items.length - ITEMS_TOLD;
  const others = left > 0 ? [`The other ${count(left)} are treated alike.`] : [];
  const isReduced = items.some(({ wanted, settings }) => isLess(settings, wanted));
  return [...told, ...others, ...budgetReasons(isReduced, used, paper, request)];
}

/** Whether an item is shown with less than it was wanted with. */
export const isLess = ({ pictures, k, sizeStep }: Settings, wanted: WantedItem): boolean =>
  pictures < wanted.pictures || k > wanted.k || sizeStep > 0;

function framesReason({ wanted, settings: { pictures } }: DecidedItem): string[] {
  const { header, candidates, bound, options } = wanted;
  if (header.kind === "image") return [];
  const isChosen = header.timesS !== undefined && options.fps === undefined;
  const rate =
    options.fps === undefined
      ? `${PAPER.fps} a second, the paper's rate`
      : `${options.fps} a second, as asked`;
  if (pictures < wanted.pictures) {
    return [`${frames(pictures)}, evenly spread, as more than that of ${count(wanted.pictures)} do not fit`];
  }
  if (pictures === candidates)
    return [isChosen ? `all ${frames(pictures)} given` : `${frames(pictures)}: ${rate}`];
  const why = {
    request: "the request allows",
    paper: "the paper takes of a video",
    task: "the paper takes of a long video, as the task is about all of it",
  }[bound.by];
  const all = isChosen ? `${count(candidates)} given` : `${count(candidates)} at ${rate}`;
  return [`${frames(pictures)}, evenly spread over ${all}: as many as ${why}`];
}

const frames = (n: number): string => (n === 1 ? "1 frame" : `${count(n)} frames`);

const PATHS = {
  image: "images",
  video: "videos",
  video_long: `videos of over ${PAPER.videoFrames} frames`,
} as const;

function compressionReason({
  wanted: { k: usual, modality, options },
  settings: { k },
}: DecidedItem): string {
  const what = `k = ${k}, so that ${k === 1 ? "each patch becomes" : `${k} x ${k} patches become`} one token`;
  if (options.compress !== undefined) return `${what}, as asked`;
  const paper = `the paper's for ${PATHS[modality]}`;
  return k > usual
    ? `${what}; ${DEFAULT_COMPRESSION[modality]}, ${paper}, does not fit`
    : `${what}: ${paper}`;
}

function sizeReason({ wanted, settings: { sizeStep }, planned: { plan } }: DecidedItem): string {
  const { header, options, modality, limits } = wanted;
  const what = `${sides(header.size)} encoded at ${sides(plan.size)}`;
  if (options.frameArea !== undefined) return `${what}, with the area asked for at most`;
  if (sizeStep > 0) return `${what}, as a larger size does not fit`;
  const area = header.size.width * header.size.height;
  if (area > limits[modality].most)
    return `${what}: the largest area that the model takes of ${PATHS[modality]}`;
  if (modality !== "image" && area < limits[modality].least)
    return `${what}: the smallest area that the model takes of ${PATHS[modality]}`;
  return `${what}: its own size, in steps of the model's grid`;
}

const sides = ({ width, height }: Size): string => `${width}x${height}`;

function budgetReasons(
  isReduced: boolean,
  used: Usage,
  paper: Usage,
  { budget, task }: PlanRequest,
): string[] {
  const limit = used.promptTokens > budget.tokens ? budget.mostTokens : budget.tokens;
  const of =
    budget.tokensBy === "request" && limit === budget.mostTokens
      ? `the budget of ${count(limit)}`
      : `the ${count(limit)} that the context leaves it${limit === budget.tokens ? " beside the answer" : ""}`;
  const lines: string[] = [];
  if (isReduced && paper.promptTokens > limit) {
    lines.push(`Unreduced, the prompt would take ${count(paper.promptTokens)} tokens, more than ${of}.`);
  } else {
    lines.push(`The prompt takes ${count(used.promptTokens)} tokens and fits ${of}.`);
  }
  if (budget.seconds !== undefined) {
    const [now, before] = [rounded(totalOf(used.seconds)), rounded(totalOf(paper.seconds))];
    const isOver = totalOf(paper.seconds) > budget.seconds;
    lines.push(
      isOver
        ? `Unreduced, the first token would come after about ${before} s here, with this plan after about ${now} of the ${budget.seconds} s allowed.`
        : `The first token comes after about ${now} s here, within the ${budget.seconds} s allowed.`,
    );
  }
  if (isReduced)
    lines.push(
      `${ASKED[task ?? "question"]}: ${ORDERS[task ?? "question"].map(sacrificed).join(", then ")}.`,
    );
  return lines;
}

const rounded = (seconds: number): string => seconds.toFixed(seconds < 10 ? 1 : 0);

/** What gives way first depends on what is asked. */
const ASKED = {
  question: "Of a question, this gives way in order",
  mcq: "Of a choice, this gives way in order",
  describe: "A description needs detail, so that this gives way in order",
  summarize: "A summary needs the whole film, so that this gives way in order",
  steps: "Steps need the whole film, so that this gives way in order",
} as const;

function sacrificed(sacrifice: Sacrifice): string {
  switch (sacrifice.of) {
    case "frames":
      return sacrifice.to > 0 ? `frames down to 1 in ${1 / sacrifice.to}` : "the other frames";
    case "k":
      return "k up to 4";
    case "size":
      return "the size down to the model's least";
  }
}
