import { join } from "node:path";
import { onDisk, replaceFile } from "../files/disk.ts";
import { drawNiah, pngOf } from "./niah-figure.ts";
import { niahReport, shownExamples } from "./niah-report.ts";
import type { NiahResult } from "./niah-result.ts";
import type { Subject } from "./niah-tasks.ts";

/** What a test leaves in its folder, beside its answers. */
export const NIAH_FILES = {
  json: "niah.json",
  svg: "niah.svg",
  png: "niah.png",
  html: "niah.html",
} as const;

/** Writes numbers, figure and report, each in place of the one before. @returns their paths @throws OryxError `disk` */
export async function writeNiah(
  out: string,
  result: NiahResult,
  subjects: readonly Subject[],
): Promise<Record<keyof typeof NIAH_FILES, string>> {
  const svg = await drawNiah(result);
  const examples = await shownExamples(subjects, result);
  const contents = {
    json: `${JSON.stringify(result, undefined, 1)}\n`,
    svg,
    png: await pngOf(svg),
    html: await niahReport(result, svg, examples),
  };
  const paths = { json: "", svg: "", png: "", html: "" };
  for (const kind of Object.keys(NIAH_FILES) as (keyof typeof NIAH_FILES)[]) {
    paths[kind] = join(out, NIAH_FILES[kind]);
    await onDisk(`write ${paths[kind]}`, () => replaceFile(paths[kind], contents[kind]));
  }
  return paths;
}
