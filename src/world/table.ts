import type { Candidate } from "./conversation.ts";
import type { Dice } from "./dice.ts";
import {
  type Background,
  backgroundMark,
  discMark,
  drawBackground,
  ellipseMark,
  shapeMark,
  textMark,
  visibleOn,
} from "./draw.ts";
import { drawSight, LEAST_CAPITALS, type Sight } from "./eye.ts";
import {
  ASK_VIEWS,
  a,
  byMark,
  COLOURS,
  type Colour,
  countWord,
  listMarks,
  SHAPES,
  type Shape,
  so,
} from "./language.ts";
import type { Easy } from "./sample.ts";
import type { Scenery, Shown } from "./scenery.ts";
import { heldOutObject } from "./split.ts";

/** Objects on a round table, seen from several sides; each carries the same number in every view. */

const VIEW_SIZES = { from: 130, to: 200, aspect: 4 / 3, least: 112, most: 240 } as const;

interface Marked {
  colour: Colour;
  shape: Shape;
  /** 1, 2, … */
  mark: number;
  /** Its place around the table, in radians. */
  angle: number;
  /** Whether each view shows it. */
  seen: readonly boolean[];
}

const MOST_MARKED = 4;

/**
 * Views with what can be asked of them. Of an easy table there are one or two, its objects may be as few as one, and
 * their marks any up to four: with a single object the mark must be read all the same.
 */
export function drawTable(
  dice: Dice,
  heldOut: boolean,
  easy?: Easy,
): { scenery: Scenery; candidates: Candidate[] } {
  const sight = drawSight(dice, VIEW_SIZES, "video");
  const background = drawBackground(dice);
  const views = easy ? dice.whole(1, 2) : dice.whole(2, 6);
  const most = Math.min(MOST_MARKED, easy?.things ?? MOST_MARKED);
  const count = dice.whole(Math.min(2, most), most);
  const objects = dice.until(() => {
    const palette = COLOURS.filter((colour) => visibleOn(background, colour));
    return placeObjects(dice, palette, { count, views, marks: easy ? MOST_MARKED : count }, heldOut);
  }, "objects on a table");
  const ground = backgroundMark(background, sight.size) + tableMark(sight, background.dark);
  const pictures: string[] = [];
  const shown: Shown[] = [];
  const start = dice.between(0, 2 * Math.PI);
  for (let view = 0; view < views; view++) {
    const turn = start + (2 * Math.PI * (view + dice.between(-0.2, 0.2))) / views;
    const visible = objects
      .filter(({ seen }) => seen[view])
      .map((object) => ({ object, ...project(sight, object.angle + turn) }))
      .sort((p, q) => p.y - q.y);
    pictures.push(
      ground +
        visible.map(({ object, x, y, size }) => markedMark(object, x, y, size, background, sight)).join(""),
    );
    for (const { object, x, y, size } of visible) shown.push({ picture: view, thing: object, x, y, size });
  }
  return {
    scenery: { size: sight.size, pictures, noise: background.noise, shown },
    candidates: viewCandidates(objects, views),
  };
}

function placeObjects(
  dice: Dice,
  palette: readonly Colour[],
  { count, views, marks: highest }: { count: number; views: number; marks: number },
  heldOut: boolean,
): Marked[] | undefined {
  const colours = dice.some(palette, count);
  const shapes = dice.some(SHAPES, count);
  const marks = dice.shuffled(Array.from({ length: highest }, (_, i) => i + 1));
  const objects = colours.map((colour, i) => ({
    colour,
    shape: shapes[i] as Shape,
    mark: marks[i] as number,
    angle: (2 * Math.PI * i) / count,
    seen: Array.from({ length: views }, () => dice.chance(0.75)),
  }));
  if (objects.some(({ colour, shape }) => heldOutObject(colour, shape)) !== heldOut) return undefined;
  if (objects.some(({ seen }) => !seen.includes(true))) return undefined;
  for (let view = 0; view < views; view++) if (!objects.some(({ seen }) => seen[view])) return undefined;
  return objects;
}

/** Where something on the table's edge is seen, from a camera above the rim: nearer things are lower and larger. */
function project(
  { size: { width, height }, shrink }: Sight,
  angle: number,
): { x: number; y: number; size: number } {
  const near = Math.sin(angle);
  const size = Math.max(0.29 * Math.min(width, height), 33 / shrink) * (1 + 0.08 * near);
  return { x: width * (0.45 + 0.3 * Math.cos(angle)), y: height * (0.47 + 0.29 * near), size };
}

const tableMark = ({ size: { width, height } }: Sight, dark: boolean): string =>
  ellipseMark(dark ? "#4a4038" : "#d8c8b0", width / 2, height / 2, 0.47 * width, 0.46 * height);

/** An object with its number, large enough to be read, on a disc at its lower right. */
export function markedMark(
  { shape, colour, mark }: Pick<Marked, "shape" | "colour" | "mark">,
  x: number,
  y: number,
  size: number,
  ground: Background,
  { shrink }: Sight,
): string {
  const digit = Math.max(0.32 * size, LEAST_CAPITALS / shrink);
  const [dx, dy] = [x + 0.47 * size, y + 0.42 * size];
  return (
    shapeMark(shape, colour, x, y, size, ground) +
    discMark("#fff", "#111", dx, dy, 0.8 * digit) +
    textMark(String(mark), "#111", dx, dy, digit)
  );
}

function viewCandidates(objects: readonly Marked[], views: number): Candidate[] {
  const about = (ask: readonly string[], answer: string, among: readonly Marked[]): Candidate => ({
    kind: "views",
    ask,
    answer,
    heldOut: among.some(({ colour, shape }) => heldOutObject(colour, shape)),
  });
  return [
    about(ASK_VIEWS.list, listMarks(objects), objects),
    about(ASK_VIEWS.objects, so(byMark(objects), countWord(objects.length)), []),
    about(ASK_VIEWS.views, countWord(views), []),
    ...objects.flatMap((object) => [
      about(ASK_VIEWS.marked(object.mark), a(object), [object]),
      about(ASK_VIEWS.colour(object.mark), object.colour, [object]),
      about(ASK_VIEWS.mark(object), String(object.mark), [object]),
      about(ASK_VIEWS.viewsOf(object), shownBy(object), [object]),
    ]),
  ];
}

/** "View 1, view 3, so two." */
function shownBy({ seen }: Marked): string {
  const views = seen.flatMap((isSeen, view) => (isSeen ? [`view ${view + 1}`] : []));
  return so(views, countWord(views.length));
}
