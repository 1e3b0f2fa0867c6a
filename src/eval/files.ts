import { access, constants, mkdtemp, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { makeFolder, onDisk, replaceFile } from "../files/disk.ts";
import type { Answered, WorldEvaluation } from "./evaluate.ts";
import { contactSheet, png } from "./pictures.ts";

/** A wrong answer, and the picture file that shows what was asked about. */
export interface DrawnAnswer extends Answered {
  picture: string;
}

/** Finds out before the work whether a file may be written after it. @throws OryxError `disk` */
export async function checkPlace(path: string): Promise<void> {
  await onDisk(`write ${path}`, async () => {
    await access(dirname(path), constants.W_OK);
    if ((await stat(path).catch(() => undefined))?.isDirectory()) throw new Error("it is a folder");
  });
}

/** @throws OryxError `disk` */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await onDisk(`write ${path}`, () => replaceFile(path, `${JSON.stringify(value)}\n`));
}

/**
 * Draws what wrong answers are about: an image as it is, a video's pictures as one sheet.
 * @param folder default: a new one among the temporary files
 * @throws OryxError `disk`
 */
export async function drawWrong(wrong: WorldEvaluation["wrong"], folder?: string): Promise<DrawnAnswer[]> {
  return onDisk(`write pictures into ${folder ?? tmpdir()}`, async () => {
    const dir = folder ?? (await mkdtemp(join(tmpdir(), "oryx-eval-")));
    await makeFolder(dir);
    const drawn: DrawnAnswer[] = [];
    for (const { answer, question } of wrong) {
      const picture = join(dir, `${answer.id.replaceAll("/", "-")}.png`);
      await writeFile(picture, await png(contactSheet(question.sample.media.pictures)));
      drawn.push({ ...answer, picture });
    }
    return drawn;
  });
}
