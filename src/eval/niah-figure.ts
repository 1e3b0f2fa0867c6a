import sharp from "sharp";
import type { TopLevelSpec } from "vega-lite";
import { percent } from "../core/figures.ts";
import { lettering } from "../world/lettering.ts";
import type { ArmResult, NiahResult } from "./niah-result.ts";
import { GRID_ARMS } from "./niah-tasks.ts";

/** The needle test as a picture: the length of the film by the needle's depth, one panel for each arm of the test. */

const CELL = { width: 44, height: 26 } as const;

/** Heat maps side by side, as SVG. */
export async function drawNiah(result: NiahResult): Promise<string> {
  const [vega, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
  const view = new vega.View(vega.parse(compile(specification(result)).spec), { renderer: "none" });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** The picture as PNG, twice as large. Its texts are drawn as outlines: a machine need not have fonts. */
export async function pngOf(svg: string): Promise<Uint8Array> {
  return sharp(Buffer.from(outlined(svg)), { density: 144 })
    .png()
    .toBuffer();
}

/** What an arm is called. */
export function titleOf({ arm, model }: ArmResult, { settings }: Pick<NiahResult, "settings">): string {
  switch (arm) {
    case "all":
      return `${model}, all frames`;
    case "other":
      return `baseline ${model}, all frames`;
    case "uniform":
      return `${model}, ${settings.baselineFrames} frames of the film`;
    case "needle":
      return "needle alone";
    case "text":
      return "nothing shown";
  }
}

function specification(result: NiahResult): TopLevelSpec {
  const panels = result.arms.filter(({ arm }) => GRID_ARMS.includes(arm));
  const others = result.arms.filter(({ arm }) => !GRID_ARMS.includes(arm));
  const below = others.map((each) => `${titleOf(each, result)}: ${percent(each.rate)}`).join(", ");
  const about = `${result.needles} needles in every cell, percent answered word for word`;
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v5.json",
    background: "white",
    title: {
      text: "Needle in a haystack",
      subtitle: below ? `${about}; ${below}` : about,
      anchor: "start",
      offset: 12,
    },
    hconcat: panels.map((each) => panel(each, result)),
  } as TopLevelSpec;
}

function panel(result: ArmResult, whole: NiahResult): object {
  const values = result.cells.map(({ frames, depth, right, needles }) => ({
    frames,
    depth,
    share: right / needles,
  }));
  const mean = `mean ${percent(result.rate)}, worst cell ${percent(result.least)}`;
  return {
    title: { text: titleOf(result, whole), subtitle: mean, fontSize: 12 },
    width: CELL.width * whole.frames.length,
    height: CELL.height * whole.depths.length,
    data: { values },
    encoding: {
      x: { field: "frames", type: "ordinal", title: "frames of the film", axis: { labelAngle: 0 } },
      y: { field: "depth", type: "ordinal", title: "depth of the needle" },
    },
    layer: [
      {
        mark: { type: "rect", stroke: "white" },
        encoding: {
          color: {
            field: "share",
            type: "quantitative",
            scale: { domain: [0, 0.5, 1], range: ["#d7473f", "#f7e08b", "#2f9e5b"] },
            legend: null,
          },
        },
      },
      {
        mark: { type: "text", fontSize: 10, color: "#222" },
        transform: [{ calculate: "round(100 * datum.share)", as: "percent" }],
        encoding: { text: { field: "percent", type: "quantitative" } },
      },
    ],
  };
}

// --------------------------------------------------------------------------------------------------- texts

/** Height of capitals, by the font size. */
const CAPITALS = 0.727;

/** Puts outlines in the place of texts, in the package's own font. */
export function outlined(svg: string): string {
  return svg.replace(/<text([^>]*)>([^<]*)<\/text>/g, (_, attributes: string, text: string) =>
    outline(attributes, unescaped(text)),
  );
}

function outline(attributes: string, text: string): string {
  if (text.trim() === "") return "";
  const attribute = (name: string) => new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes)?.[1];
  const size = Number.parseFloat(attribute("font-size") ?? "11");
  const { path, width } = lettering(text, attribute("font-weight") === "bold" ? 800 : 400);
  const scale = (CAPITALS * size) / 100;
  const anchor = { start: 0, middle: 0.5, end: 1 }[attribute("text-anchor") ?? "start"] ?? 0;
  const place = `${attribute("transform") ?? ""} translate(${-anchor * width * scale} 0) scale(${scale})`;
  const opacity = attribute("opacity");
  const paint = `fill="${attribute("fill") ?? "#000"}"${opacity ? ` opacity="${opacity}"` : ""}`;
  return `<path transform="${place.trim()}" d="${path}" ${paint}/>`;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

const unescaped = (text: string): string =>
  text.replace(/&(\w+);/g, (whole, name: string) => ENTITIES[name] ?? whole);
