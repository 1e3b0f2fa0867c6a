import { OryxError } from "../core/errors.ts";
import type { Modality } from "../model/visual.ts";
import { type Candidate, converse } from "./conversation.ts";
import { Dice } from "./dice.ts";
import { render } from "./draw.ts";
import { drawMotionFilm } from "./film.ts";
import { drawHaystack } from "./haystack.ts";
import { drawPage } from "./page.ts";
import {
  type Easy,
  KINDS,
  type Kind,
  LONG_FRAMES,
  MOST_CARDS,
  type WorldOptions,
  type WorldSample,
  type WorldTurn,
} from "./sample.ts";
import type { Scenery } from "./scenery.ts";
import { drawRecording } from "./screen.ts";
import { drawSlides } from "./slides.ts";
import { drawImage } from "./still.ts";
import { stillCandidates } from "./still-questions.ts";
import { drawTable } from "./table.ts";

/**
 * The miniature world: pictures and films with questions about them, each drawn from a seed. The same seed and
 * options give the same bytes on every run; `scale` changes the size of the pictures and nothing else.
 * @param seed a whole number from 0
 * @throws OryxError `bad_option`
 */
export async function worldSample(seed: number, options: WorldOptions): Promise<WorldSample> {
  const { modality, scenery, turns, noiseSeed, primary } = composeSample(seed, options);
  const { scale = 1 } = options;
  const pictures = await render(scenery, scale, noiseSeed);
  const timesS = pictures.map((_, i) => i);
  return {
    id: `world-${options.split}-${primary}-${seed}`,
    media: { modality, pictures, timesS },
    turns,
    ...(scenery.named && { named: scenery.named }),
  };
}

/** A sample before its pixels. */
export interface Composition {
  primary: Kind;
  modality: Modality;
  scenery: Scenery;
  noiseSeed: number;
  turns: WorldTurn[];
}

/** All of {@link worldSample} but the pixels. @throws OryxError `bad_option` */
export function composeSample(seed: number, options: WorldOptions): Composition {
  checkOptions(seed, options);
  const heldOut = options.split === "heldout";
  const dice = new Dice(2 * seed + (heldOut ? 1 : 0));
  const weights = KINDS.map((kind) => [kind, options.kinds[kind] ?? 0] as const);
  const primary = dice.weighted(weights);
  const genre = genreOf(dice, primary, options.easy);
  const { scenery, candidates } = DRAW[genre](dice, primary, heldOut, options);
  // Of few things little can be asked that an answer before has not told already.
  const most = genre === "image" && options.easy ? 4 * options.easy.things : Number.POSITIVE_INFINITY;
  // Where more cards were asked for, so that a long film teaches more, each is asked about.
  const least = genre === "haystack" ? (options.needle?.cards ?? 0) : 0;
  const turns = Math.min(Math.max(dice.whole(...TURNS[genre]), least), most);
  const plan = { primary, kinds: options.kinds, turns, heldOut };
  const asked = converse(dice, candidates, plan);
  return { primary, modality: MODALITY[genre], scenery, noiseSeed: dice.seed(), turns: asked };
}

/** What is drawn for a kind of question. */
type Genre =
  | "image"
  | "motions"
  | "slides"
  | "recording"
  | "haystack"
  | "table"
  | "page"
  | "frame"
  | "longframe";

const MODALITY: Readonly<Record<Genre, Modality>> = {
  image: "image",
  motions: "video",
  slides: "video",
  recording: "video",
  haystack: "video_long",
  table: "video",
  page: "image",
  frame: "video",
  longframe: "video_long",
};

/** Turns of a sample: looking is expensive, asking is cheap. */
const TURNS: Readonly<Record<Genre, readonly [least: number, most: number]>> = {
  image: [5, 8],
  motions: [3, 5],
  slides: [4, 6],
  recording: [3, 5],
  haystack: [2, 4],
  table: [4, 6],
  page: [1, 1],
  frame: [1, 1],
  longframe: [1, 1],
};

type DrawGenre = (
  dice: Dice,
  primary: Kind,
  heldOut: boolean,
  options: WorldOptions,
) => { scenery: Scenery; candidates: readonly Candidate[] };

const DRAW: Readonly<Record<Genre, DrawGenre>> = {
  image: (dice, primary, heldOut, { easy }) => {
    const { still, scenery } = drawImage(dice, primary, heldOut, easy);
    return { scenery, candidates: stillCandidates(dice, still) };
  },
  motions: (dice, _, heldOut, { easy }) => drawMotionFilm(dice, heldOut, easy),
  slides: (dice, _, heldOut, { easy }) => drawSlides(dice, heldOut, easy),
  recording: (dice, _, heldOut, { easy }) => drawRecording(dice, heldOut, easy),
  haystack: (dice, _, heldOut, options) => drawHaystack(dice, heldOut, options),
  table: (dice, _, heldOut, { easy }) => drawTable(dice, heldOut, easy),
  page: (dice, _, heldOut) => drawPage(dice, heldOut, "image"),
  frame: (dice, _, heldOut) => drawPage(dice, heldOut, "video"),
  longframe: (dice, _, heldOut) => drawPage(dice, heldOut, "video_long"),
};

function genreOf(dice: Dice, kind: Kind, easy?: Easy): Genre {
  switch (kind) {
    case "motion":
      return "motions";
    case "order":
      return "slides";
    case "summary":
      // What moves cannot be told from one frame.
      if (easy) return dice.chance((1 - (easy.texts ?? 0.5)) / 1.5) ? "recording" : "slides";
      return dice.pick(["motions", "slides", "recording"]);
    case "video_choice":
      return dice.pick(["motions", "slides"]);
    case "page":
      return dice.pick(["page", "page", "frame", "frame", "longframe"]);
    case "letter":
      return dice.pick(["image", "motions", "slides"]);
    case "steps":
      return "recording";
    case "needle":
      return "haystack";
    case "views":
      return "table";
    default:
      return "image";
  }
}

const SCALES = { least: 0.25, most: 8 } as const;

function checkOptions(seed: number, { kinds, scale = 1, needle = {}, easy }: WorldOptions): void {
  if (easy !== undefined && !(easy.things >= 1 && easy.side >= 64)) {
    const problem = `easy images have ${easy.things} things and sides of ${easy.side} pixels`;
    throw new OryxError("bad_option", problem, "give at least 1 thing, and 64 pixels");
  }
  if (!Number.isSafeInteger(seed) || seed < 0 || seed > 2 ** 50) {
    throw new OryxError("bad_option", `the seed is ${seed}`, "give a whole number from 0");
  }
  const weights = Object.values(kinds);
  if (
    weights.some((weight) => !(weight >= 0 && weight < Infinity)) ||
    !weights.some((weight) => weight > 0)
  ) {
    throw new OryxError("bad_option", "no kind of question has a weight above 0", "give some kind a weight");
  }
  if (!(scale >= SCALES.least && scale <= SCALES.most)) {
    const problem = `the scale is ${scale}`;
    throw new OryxError("bad_option", problem, `give a number from ${SCALES.least} to ${SCALES.most}`);
  }
  const { least, most } = LONG_FRAMES;
  const { frames = least, cards = 1 } = needle;
  if (!Number.isInteger(frames) || frames < least || frames > most) {
    const problem = `a film of ${frames} frames`;
    throw new OryxError("bad_option", problem, `give a whole number from ${least} to ${most}`);
  }
  if (easy !== undefined && needle.cards !== undefined) {
    throw new OryxError("bad_option", "a number of cards in an easy film", "leave one of them out");
  }
  if (needle.object && needle.cards !== undefined) {
    throw new OryxError("bad_option", "a card with an object, and a number of cards", "give one of the two");
  }
  if (!Number.isInteger(cards) || cards < 1 || cards > MOST_CARDS) {
    throw new OryxError("bad_option", `${cards} cards`, `give a whole number from 1 to ${MOST_CARDS}`);
  }
}
