import { access, constants, mkdtemp, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { OryxError } from "../core/errors.ts";
import { makeFolder } from "../files/disk.ts";
import type { Answered, WorldEvaluation } from "./evaluate.ts";
import { contactSheet, png } from "./pictures.ts";

/** A wrong answer, and the picture file that shows what was asked about. */
export interface DrawnAnswer extends Answered {
  picture: string;
}

/** Finds out before the work whether a file may be written after it. @throws OryxError `disk` */
export async function checkPlace(path: string): Promise<void> {
  await onDisk(path, async () => {
    await access(dirname(path), constants.W_OK);
    if ((await stat(path).catch(() => undefined))?.isDirectory()) throw new Error("it is a folder");
  });
}

/** @throws OryxError `disk` */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await onDisk(path, () => writeFile(path, `${JSON.stringify(value)}\n`));
}

/**
 * Draws what wrong answers are about: an image as it is, a video's pictures as one sheet.
 * @param folder default: a new one among the temporary files
 * @throws OryxError `disk`
 */
export async function drawWrong(wrong: WorldEvaluation["wrong"], folder?: string): Promise<DrawnAnswer[]> {
  return onDisk(folder ?? tmpdir(), async () => {
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

async function onDisk<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const problem = `${path} cannot be written (${code ?? message})`;
    throw new OryxError("disk", problem, "check the folder, its permissions and the free space", { cause });
  }
}
