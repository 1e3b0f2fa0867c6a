import { OryxError } from "../core/errors.ts";
import type { Random } from "../core/random.ts";
import { uniformIndices } from "../media/sampling.ts";

/** Which frames of a video an example shows, and where those stand that its question is about. */
export interface ChosenFrames {
  /** Numbers of the candidate frames that are shown, in the order in which they are shown. */
  frames: number[];
  /** For each target, its place among them. */
  slots: number[];
}

/**
 * At most `most` of `count` frames, evenly spread; targets among them are always taken and moved to random places of
 * their own, the others keeping their order.
 * @throws OryxError `sample_invalid` when a target is not there, or there are more targets than places
 */
export function chooseFrames(
  count: number,
  most: number,
  targets: readonly number[],
  random: Random,
): ChosenFrames {
  const beyond = targets.find((target) => target >= count);
  if (beyond !== undefined || targets.length > most) {
    const problem = `it asks about frame ${beyond ?? targets} of ${Math.min(count, most)}`;
    throw new OryxError("sample_invalid", problem, "count frames from 0");
  }
  const others = Array.from({ length: count }, (_, i) => i).filter((i) => !targets.includes(i));
  const kept = uniformIndices(others.length, most - targets.length).map((i) => others[i]!);
  const slots = distinctSlots(targets.length, targets.length + kept.length, random);
  const rest = kept.values();
  const frames = Array.from({ length: targets.length + kept.length }, (_, place) => {
    const target = slots.indexOf(place);
    return target < 0 ? rest.next().value! : targets[target]!;
  });
  return { frames, slots };
}

/** `count` different numbers below `places`, any as likely as any other. */
function distinctSlots(count: number, places: number, random: Random): number[] {
  const slots: number[] = [];
  while (slots.length < count) {
    const slot = Math.floor(random.next() * places);
    if (!slots.includes(slot)) slots.push(slot);
  }
  return slots;
}

/**
 * A question with the places of its targets written in: `<idx>` or `<idx1>` is the first, `<idx2>` the second.
 * @throws OryxError `sample_invalid` when it speaks of a target that is not there
 */
export function questionWithSlots(question: string, slots: readonly number[]): string {
  return question.replace(/<idx([12]?)>/g, (written, which: string) => {
    const slot = slots[which === "2" ? 1 : 0];
    if (slot !== undefined) return String(slot);
    throw new OryxError("sample_invalid", `its question has ${written}, and its idx has not`, "give both");
  });
}
