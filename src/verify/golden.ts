import { isAbsolute, join, normalize, sep } from "node:path";
import { z } from "zod";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { readJsonObject } from "../weights/files.ts";
import { readSafetensors } from "../weights/safetensors.ts";
import { type CaseModality, keptElements, stagesOf } from "./stages.ts";

/** What a reference expects of one stage: every stride-th element of the flattened tensor. */
export interface ExpectedStage {
  name: string;
  shape: readonly number[];
  stride: number;
  /** The kept elements, f32 or another floating type, [ceil(elements / stride)]. */
  kept: StoredTensor;
}

/** One question, and what a reference computed for it. */
export interface GoldenCase {
  name: string;
  modality: CaseModality;
  /** Paths of the images, or of the frames of a video. */
  media: readonly string[];
  prompt: string;
  /** The prompt's tokens, {@link VISUAL_ID} in place of each image or video. */
  inputIds: readonly number[];
  /** Tokens when the visuals are in place. */
  sequenceLength: number;
  /** Tokens of the greedy answer; a stop token is its last. */
  greedy: readonly number[];
  stages: readonly ExpectedStage[];
}

/** The id that stands for a visual in `input_ids`. */
export const VISUAL_ID = -200;

const CASES = "cases.json";
const EXPECTED = "expected.safetensors";
const CASES_JSON = { maxValues: 2_000_000, maxTextBytes: LIMITS.configBytes };

const natural = z.int().nonnegative();
const name = z.string().min(1).max(200);
const tokens = z.array(z.int()).max(LIMITS.maxPositions);

const CASES_FILE = z.object({
  cases: z
    .array(
      z.object({
        name,
        modality: z.enum(["image", "video", "video_long", "text"]),
        media: z.array(z.string().min(1).max(4096)).max(LIMITS.framesPerVideo),
        prompt: z.string().max(LIMITS.promptChars),
        input_ids: tokens,
        sequence_length: natural,
        greedy: tokens,
      }),
    )
    .min(1),
  stages: z.record(
    z.string().max(400),
    z.object({ shape: z.array(natural).max(LIMITS.tensorRank), stride: z.int().positive() }),
  ),
});

type CasesFile = z.infer<typeof CASES_FILE>;

/**
 * Reads what a reference expects of the model in a folder: `cases.json`, and the headers of
 * `expected.safetensors`.
 * @throws OryxError `golden_invalid`: a file is absent or malformed, they do not fit each other, or a stage is
 *   none that this version knows
 */
export async function readGolden(dir: string): Promise<GoldenCase[]> {
  const file = parseCases(await readFile(CASES, () => readCases(join(dir, CASES))));
  const expected = await readFile(EXPECTED, () => readSafetensors(join(dir, EXPECTED)));
  const cases = file.cases.map((c): GoldenCase => {
    if ((c.media.length === 0) !== (c.modality === "text")) {
      throw invalid(`case ${c.name} is ${c.modality} and names ${c.media.length} media`);
    }
    return {
      name: c.name,
      modality: c.modality,
      media: c.media.map((medium) => mediaPath(dir, medium)),
      prompt: c.prompt,
      inputIds: c.input_ids,
      sequenceLength: c.sequence_length,
      greedy: c.greedy,
      stages: stagesIn(file, c, expected),
    };
  });
  checkNames(file);
  return cases;
}

const readCases = (path: string) => readJsonObject(path, LIMITS.configBytes, "golden_invalid", CASES_JSON);

/** What is wrong with a file of the reference is the reference's fault, not the model's. */
async function readFile<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof OryxError) throw invalid(`${file}: ${error.message}`, error);
    throw error;
  }
}

function parseCases(json: unknown): CasesFile {
  const parsed = CASES_FILE.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(`${CASES}: ${issue?.path.join(".")}: ${issue?.message}`, parsed.error);
}

/** Case and stage of a name such as "video.logits_last"; stages have no dots, cases may. */
function splitName(full: string): { of: string; stage: string } {
  const dot = full.lastIndexOf(".");
  return { of: full.slice(0, Math.max(0, dot)), stage: full.slice(dot + 1) };
}

function checkNames({ cases, stages }: CasesFile): void {
  const names = new Set(cases.map((c) => c.name));
  if (names.size < cases.length) throw invalid(`${CASES}: two cases have one name`);
  const stray = Object.keys(stages).find((full) => !names.has(splitName(full).of));
  if (stray !== undefined) throw invalid(`${CASES}: stage ${JSON.stringify(stray)} belongs to no case`);
}

function stagesIn(
  file: CasesFile,
  { name, modality }: CasesFile["cases"][number],
  expected: ReadonlyMap<string, StoredTensor>,
): ExpectedStage[] {
  const known = stagesOf(modality);
  return Object.entries(file.stages).flatMap(([full, { shape, stride }]) => {
    const { of, stage } = splitName(full);
    if (of !== name) return [];
    if (!known.has(stage)) {
      const problem = `${CASES}: ${JSON.stringify(full)} is no stage that this version computes for ${modality}`;
      throw invalid(`${problem} (it knows ${[...known].join(", ")})`);
    }
    const kept = expected.get(full);
    if (kept === undefined) throw invalid(`${EXPECTED} has no tensor ${JSON.stringify(full)}`);
    const wanted = keptElements(shape, stride);
    if (kept.shape.length !== 1 || kept.shape[0] !== wanted) {
      throw invalid(`${EXPECTED}: ${full} has shape [${kept.shape}], and ${CASES} says [${wanted}]`);
    }
    return [{ name: stage, shape, stride, kept }];
  });
}

function mediaPath(dir: string, medium: string): string {
  const plain = normalize(medium);
  if (isAbsolute(plain) || plain === ".." || plain.startsWith(`..${sep}`)) {
    throw invalid(`${CASES}: the medium ${JSON.stringify(medium)} does not lie in the folder`);
  }
  return join(dir, "media", plain);
}

export function invalid(problem: string, cause?: unknown): OryxError {
  return new OryxError("golden_invalid", problem, "copy the whole reference folder again", { cause });
}
