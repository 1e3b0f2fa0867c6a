import { percent } from "../core/figures.ts";
import type { Size } from "../core/size.ts";
import type { RgbImage } from "../media/media.ts";
import { titleOf } from "./niah-figure.ts";
import { asFrame } from "./niah-film.ts";
import { layout, slotAt } from "./niah-layout.ts";
import type { AskedQuestion, NiahResult } from "./niah-result.ts";
import type { Subject } from "./niah-tasks.ts";
import { contactSheet, png } from "./pictures.ts";

/** The needle test as one HTML file that needs nothing else: the figure, the numbers, frames to look at. */

/** A needle among its neighbours, as the film shows them. */
export interface ShownExample {
  needle: string;
  frames: number;
  depth: number;
  /** Number of the frame, from 1. */
  at: number;
  questions: readonly { question: string; answer: string }[];
  sheet: RgbImage;
}

const EXAMPLES = 6;
const NEIGHBOURS = 3;
/** Longer side of the pictures. */
const SIDE = 160;

/** Some needles with the frames around them, at depths that follow each other. */
export async function shownExamples(
  subjects: readonly Subject[],
  { frames, depths }: Pick<NiahResult, "frames" | "depths">,
): Promise<ShownExample[]> {
  const needles = subjects.flatMap((subject) => subject.needles.map((needle) => ({ subject, needle })));
  const count = frames.at(-1) as number;
  const examples: ShownExample[] = [];
  for (const [i, { subject, needle }] of needles.slice(0, EXAMPLES).entries()) {
    const depth = depths[Math.floor((i * depths.length) / EXAMPLES) % depths.length] as number;
    const film = layout({ frames: count, depth, pictures: 1, seed: needle.seed });
    const at = slotAt(count, depth);
    const around = film.slice(Math.max(0, at - NEIGHBOURS), at + NEIGHBOURS + 1);
    const { haystack } = subject;
    const size = thumbnailSize(haystack.size);
    const hay = around.flatMap((shown) => ("hay" in shown ? [shown.hay] : []));
    const pictures: RgbImage[] = [];
    for await (const picture of haystack.frames(hay, size)) pictures.push(picture);
    const [card] = await needle.load(haystack.size);
    const place = around.findIndex((shown) => "picture" in shown);
    pictures.splice(place, 0, await asFrame(card as RgbImage, haystack.size, size));
    const sheet = contactSheet(pictures, pictures.length);
    examples.push({
      needle: needle.id,
      frames: count,
      depth,
      at: at + 1,
      questions: needle.questions,
      sheet,
    });
  }
  return examples;
}

function thumbnailSize({ width, height }: Size): Size {
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const side = (length: number) => Math.max(1, Math.round(length * scale));
  return { width: side(width), height: side(height) };
}

const WRONG_SHOWN = 200;

/** The whole report. @param svg the figure */
export async function niahReport(
  result: NiahResult,
  svg: string,
  examples: readonly ShownExample[],
): Promise<string> {
  const { model, arms, answers } = result;
  const wrong = answers.filter(({ arm, right }) => arm === "all" && !right);
  const random = model.randomWeights ? "<p><b>The weights are random: the answers mean nothing.</b></p>" : "";
  const body = [
    `<h1>Needle in a haystack: ${escaped(model.name)}</h1>${random}`,
    `<figure>${svg}</figure>`,
    "<h2>Found</h2>",
    table(
      ["", "word for word", "19 times out of 20 within", "token by token", "worst cell", "runs"],
      arms.map((arm) => [
        titleOf(arm, result),
        percent(arm.rate),
        `${percent(arm.low)} to ${percent(arm.high)}`,
        percent(arm.forcedRate),
        arm.cells.length > 0 ? percent(arm.least) : "",
        String(arm.needles),
      ]),
    ),
    "<p>Word for word: what the model says by itself is the answer, whatever the case, the articles and the full " +
      "stop. Token by token: every token of the answer is the likeliest one, with the right ones before it.</p>",
    "<h2>What is hidden</h2>",
    ...(await Promise.all(examples.map(exampleHtml))),
    `<h2>Wrong answers: ${wrong.length}</h2>`,
    wrong.length > WRONG_SHOWN ? `<p>The first ${WRONG_SHOWN}; all are in niah.json.</p>` : "",
    wrong.length > 0 ? wrongTable(wrong.slice(0, WRONG_SHOWN)) : "",
    "<h2>Settings</h2>",
    table(
      ["", ""],
      Object.entries({ films: result.films.slice(0, 20).join(", "), ...result.settings }).map(
        ([name, value]) => [name, String(value)],
      ),
    ),
  ];
  return `<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Needle in a haystack</title>\n${STYLE}\n${body.join("\n")}\n</html>\n`;
}

const STYLE =
  "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}" +
  "table{border-collapse:collapse}td,th{padding:.2em .8em .2em 0;text-align:left;border-bottom:1px solid #ddd;" +
  "overflow-wrap:anywhere}figure{margin:0;overflow-x:auto}img{max-width:100%}</style>";

async function exampleHtml(example: ShownExample): Promise<string> {
  const { needle, frames, depth, at, questions, sheet } = example;
  const source = `data:image/png;base64,${Buffer.from(await png(sheet)).toString("base64")}`;
  const asks = questions
    .map(({ question, answer }) => `${escaped(question)} <b>${escaped(answer)}</b>`)
    .join("; ");
  const where = `${escaped(needle)}: frame ${at} of ${frames} (depth ${depth})`;
  return `<p>${where}. ${asks}</p><p><img alt="frames around the needle" src="${source}"></p>`;
}

const wrongTable = (wrong: readonly AskedQuestion[]): string =>
  table(
    ["frames", "depth", "needle", "asked", "expected", "got"],
    wrong.map(({ frames, depth, needle, question, expected, got }) => [
      String(frames),
      String(depth),
      needle,
      question,
      expected,
      got,
    ]),
  );

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`;
  return `<table>${line(head, "th")}${rows.map((row) => line(row, "td")).join("")}</table>`;
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (letter) => `&#${letter.codePointAt(0)};`);
