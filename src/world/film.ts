import type { Size } from "../core/size.ts";
import { type Candidate, choicesOf } from "./conversation.ts";
import type { Dice } from "./dice.ts";
import { type Background, backgroundMark, drawBackground, shapeMark, visibleOn } from "./draw.ts";
import { drawSight, LEAST_OBJECT, type Sight, type SizeRange } from "./eye.ts";
import {
  ASK_FILM,
  a,
  COLOURS,
  type Colour,
  MOTIONS,
  type Motion,
  SHAPES,
  type Shape,
  summariseMotions,
  the,
} from "./language.ts";
import type { Easy } from "./sample.ts";
import type { Scenery } from "./scenery.ts";
import { heldOutMotion, heldOutObject } from "./split.ts";

/** A film in which one or two objects move, each in a lane of its own. */

/** Sizes of films; the longer side of their encoded frames lies between 64 and 160. */
const FILM_SIZES = { from: 80, to: 200, aspect: 16 / 9, least: 64, most: 256 } as const;

/** Sizes of the films of a world that is easy: with sides of so many pixels at most. */
export const filmSizes = (easy: Easy | undefined): SizeRange =>
  easy ? { ...FILM_SIZES, from: 64, to: Math.min(FILM_SIZES.to, easy.side), most: easy.side } : FILM_SIZES;

interface Actor {
  colour: Colour;
  shape: Shape;
  motion: Motion;
}

/** A rectangle in pixels, by its corner. */
interface Lane extends Size {
  x: number;
  y: number;
}

/** Where an object is on a frame; undefined: it is gone. */
type Pose = { x: number; y: number; size: number } | undefined;

interface Film {
  size: Size;
  background: Background;
  actors: readonly Actor[];
  /** Of each actor, one for each frame. */
  poses: readonly (readonly Pose[])[];
}

/** A film with what can be asked of it; an easy one is short. */
export function drawMotionFilm(
  dice: Dice,
  heldOut: boolean,
  easy?: Easy,
): { scenery: Scenery; candidates: Candidate[] } {
  const film = dice.until(() => drawFilm(dice, heldOut, easy), "a film");
  return { scenery: filmScenery(film), candidates: motionCandidates(dice, film.actors) };
}

const ALONG_ROW: readonly Motion[] = [
  "moves left",
  "moves right",
  "grows",
  "shrinks",
  "stays still",
  "disappears",
];
const ALONG_COLUMN: readonly Motion[] = [
  "moves up",
  "moves down",
  "grows",
  "shrinks",
  "stays still",
  "disappears",
];

const isHeldOut = ({ colour, shape, motion }: Actor): boolean =>
  heldOutObject(colour, shape) || heldOutMotion(motion, shape);

function drawFilm(dice: Dice, heldOut: boolean, easy: Easy | undefined): Film | undefined {
  const sight = drawSight(dice, filmSizes(easy), "video");
  const background = drawBackground(dice);
  const count = dice.weighted([
    [1, 4],
    [2, 6],
  ]);
  const rows = dice.chance(0.5);
  const motions = count === 1 ? MOTIONS : rows ? ALONG_ROW : ALONG_COLUMN;
  const palette = COLOURS.filter((colour) => visibleOn(background, colour));
  const chosen = dice.some(motions, count);
  const shapes = dice.some(SHAPES, count);
  const actors = dice
    .some(palette, count)
    .map((colour, i): Actor => ({ colour, shape: shapes[i] as Shape, motion: chosen[i] as Motion }));
  if (actors.some(isHeldOut) !== heldOut) return undefined;
  const frames = dice.whole(4, easy ? 6 : 12);
  const lanes = lanesOf(sight.size, count, rows);
  const poses = actors.map((actor, i) => drawPoses(dice, actor.motion, lanes[i] as Lane, sight, frames));
  if (poses.some((pose) => pose === undefined)) return undefined;
  return { size: sight.size, background, actors, poses: poses as Pose[][] };
}

function lanesOf({ width, height }: Size, count: number, rows: boolean): Lane[] {
  if (count === 1) return [{ x: 0, y: 0, width, height }];
  const half = rows ? { width, height: height / 2 } : { width: width / 2, height };
  return [0, 1].map((i) => ({ x: rows ? 0 : i * half.width, y: rows ? i * half.height : 0, ...half }));
}

/** How large something is that grows or shrinks while it is small, by its full size. */
const SMALL = 0.45;
/** How far something goes, at least, by the picture's side: less is left out. */
const LEAST_WAY = 0.35;

function drawPoses(dice: Dice, motion: Motion, lane: Lane, sight: Sight, frames: number): Pose[] | undefined {
  const short = Math.min(lane.width, lane.height);
  const moves = motion.startsWith("moves");
  const most = Math.min(0.92 * short, moves ? 56 / sight.shrink : 90 / sight.shrink);
  const least = LEAST_OBJECT / sight.shrink;
  if (most < least) return undefined;
  const size = dice.between(Math.max(least, 0.7 * most), most);
  const inside = (from: number, length: number) =>
    [from + size / 2 + 1, from + length - size / 2 - 1] as const;
  const [left, right] = inside(lane.x, lane.width);
  const [top, bottom] = inside(lane.y, lane.height);
  /** From near one end of the lane to near the other. */
  const way = (from: number, to: number) => {
    const margin = 0.12 * (to - from);
    return [from + dice.between(0, margin), to - dice.between(0, margin)] as const;
  };
  const still = (at: number) => [at, at] as const;
  const sideways = motion === "moves left" || motion === "moves right";
  const upright = motion === "moves up" || motion === "moves down";
  if (sideways && right - left < LEAST_WAY * sight.size.width) return undefined;
  if (upright && bottom - top < LEAST_WAY * sight.size.height) return undefined;
  const xs = sideways ? way(left, right) : still(dice.between(left, right));
  const ys = upright ? way(top, bottom) : still(dice.between(top, bottom));
  const sizes = motion === "grows" || motion === "shrinks" ? ([SMALL * size, size] as const) : still(size);
  const gone = motion === "disappears" ? Math.round(frames * dice.between(0.4, 0.6)) : frames;
  const back = motion === "moves left" || motion === "moves up" || motion === "shrinks";
  return Array.from({ length: frames }, (_, frame): Pose => {
    const t = (back ? frames - 1 - frame : frame) / (frames - 1);
    const mix = ([from, to]: readonly [number, number]) => from + (to - from) * t;
    return frame < gone ? { x: mix(xs), y: mix(ys), size: mix(sizes) } : undefined;
  });
}

function filmScenery({ size, background, actors, poses }: Film): Scenery {
  const ground = backgroundMark(background, size);
  const frames = poses[0]?.length ?? 0;
  const pictures = Array.from({ length: frames }, (_, frame) => {
    const marks = actors.map(({ shape, colour }, i) => {
      const pose = poses[i]?.[frame];
      return pose ? shapeMark(shape, colour, pose.x, pose.y, pose.size, background) : "";
    });
    return ground + marks.join("");
  });
  const shown = actors.flatMap((thing, i) =>
    (poses[i] ?? []).flatMap((pose, picture) => (pose ? [{ picture, thing, ...pose }] : [])),
  );
  return { size, pictures, noise: background.noise, shown };
}

// ------------------------------------------------------------------------------------------------ questions

function motionCandidates(dice: Dice, actors: readonly Actor[]): Candidate[] {
  const summary: Candidate = {
    kind: "summary",
    ask: ASK_FILM.summary,
    answer: summariseMotions(actors),
    heldOut: actors.some(isHeldOut),
  };
  const each = actors.flatMap((actor): Candidate[] => {
    const motion = (ask: readonly string[], answer: string): Candidate => ({
      kind: "motion",
      ask,
      answer,
      heldOut: isHeldOut(actor),
    });
    return [
      motion(ASK_FILM.motionOf(actor), `it ${actor.motion}`),
      motion(ASK_FILM.shapeThat(actor.motion), the(actor)),
      motion(ASK_FILM.colourThat(actor.motion), actor.colour),
      ...choicesOf(dice, {
        kind: "video_choice",
        questions: ASK_FILM.motionOf(actor),
        right: `it ${actor.motion}`,
        wrong: unlike(actor),
        reason: `${the(actor)} ${actor.motion}`,
        heldOut: isHeldOut(actor),
      }),
      ...whichDoes(dice, actor, actors),
    ];
  });
  return [summary, ...each];
}

const unlike = (actor: Actor): string[] =>
  MOTIONS.filter((m) => m !== actor.motion && !heldOutMotion(m, actor.shape)).map((m) => `it ${m}`);

/** "Which object grows?" with the other objects and some that are not shown. */
function whichDoes(dice: Dice, actor: Actor, actors: readonly Actor[]): Candidate[] {
  const others = actors.filter((other) => other !== actor);
  const strangers = COLOURS.flatMap((colour) => SHAPES.map((shape) => ({ colour, shape })))
    .filter(({ colour, shape }) => !heldOutObject(colour, shape) && !heldOutMotion(actor.motion, shape))
    .filter(({ colour, shape }) => actors.every((o) => o.colour !== colour || o.shape !== shape));
  const wrong = [...others, ...dice.some(strangers, 3 - others.length)].map(a);
  return choicesOf(dice, {
    kind: "video_choice",
    questions: ASK_FILM.shapeThat(actor.motion),
    right: a(actor),
    wrong,
    reason: `${the(actor)} ${actor.motion}`,
    heldOut: isHeldOut(actor),
  });
}
