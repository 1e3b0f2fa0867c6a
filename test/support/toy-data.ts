import { OryxError } from "../../src/core/errors.ts";
import type { Dataset, Example } from "../../src/data/example.ts";
import { exampleVisual } from "../../src/data/visual.ts";
import { PUBLISHED_VIEWS } from "../../src/model/views.ts";

/** A data set for tests, in which some examples are not as they should be. */
export interface ToySpec {
  length: number;
  broken?: number[];
  tooLong?: number[];
  /** What is wrong with one example, beyond its being broken. */
  trouble?: { at: number; kind: "crash" | "bug" | "lost" | "endless" };
  /** Fails when it is opened. */
  unreadable?: boolean;
}

const SMALL_VIEWS = { ...PUBLISHED_VIEWS, video: { least: 32 ** 2, most: 32 ** 2, stride: 32 } };

export async function openToy(spec: ToySpec): Promise<Dataset> {
  if (spec.unreadable) throw new OryxError("data_invalid", "toys.json cannot be read", "look for it");
  return { length: spec.length, example: (index) => toy(spec, index), close: async () => {} };
}

async function toy({ broken, tooLong, trouble }: ToySpec, index: number): Promise<Example> {
  const fault = (code: "sample_invalid" | "sample_too_long") =>
    new OryxError(code, `"toy ${index}" (toys.json line ${index + 1}): it is no good`, "mend it");
  if (broken?.includes(index)) throw fault("sample_invalid");
  if (tooLong?.includes(index)) throw fault("sample_too_long");
  if (trouble?.at === index) await makeTrouble(trouble.kind);
  // Later examples are quicker, so that threads finish out of order.
  await new Promise((resolve) => setTimeout(resolve, (index * 7) % 5));
  const frame = { width: 16, height: 16, data: new Uint8Array(3 * 16 * 16).fill(index) };
  const prompt = [index, { visual: 0 }, index + 1];
  const visuals = [exampleVisual([frame, frame], "video", SMALL_VIEWS)];
  return { id: `toy ${index}`, prompt, labels: [-100, -100, index + 1], visuals, tokens: 12 };
}

async function makeTrouble(kind: NonNullable<ToySpec["trouble"]>["kind"]): Promise<void> {
  if (kind === "bug") throw new TypeError("undefined is not a function");
  if (kind === "lost") throw new OryxError("data_invalid", "toys.json became shorter", "start again");
  if (kind === "endless") await new Promise((resolve) => setTimeout(resolve, 600_000));
  setTimeout(() => {
    throw new Error("a crash that nobody catches");
  });
  await new Promise(() => {});
}
