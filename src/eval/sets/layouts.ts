import { LIMITS } from "../../core/limits.ts";
import { type AnswerForm, choiceIndex, withoutLetters } from "./choice.ts";
import type { Fields } from "./fields.ts";
import type { ChoiceQuestion, MediaName, OpenQuestion, SetQuestion } from "./question.ts";

/** What a layout needs to know of the file beside the record. */
export interface Around {
  /** Name of the file, without folder and extension. */
  file: string;
  /** Number of the record in the file, from 0. */
  number: number;
  /** Answers from a file beside it, by the question's id: EgoSchema's are apart. */
  answers: ReadonlyMap<string, string>;
}

/** A way in which files of questions are written. */
export interface Layout {
  /** For `--format`. */
  name: string;
  title: string;
  /** Whether a record looks like one of these. */
  suits: (record: Fields) => boolean;
  questions: (record: Fields, around: Around) => SetQuestion[];
}

// ------------------------------------------------------------------------------------------------------ own

/**
 * This project's own, as JSON lines:
 * ```
 * { "media": path | [path, ...], "question", "options": [...], "answer": number | letter | option,
 *   "id", "category": text | { way: text | [text, ...] }, "from_s", "to_s" }
 * { "media": ..., "question", "answers": [...] | "answer": text, ... }
 * ```
 * Only `media` (which may be empty) and `question` must be there. With options it is a multiple choice, whose answer
 * is the option's number from 0, its letter or its text.
 */
const OWN: Layout = {
  name: "oryx",
  title: "questions",
  suits: (record) => record.has("media", "question"),
  questions(record, { file, number }) {
    const media = record.texts("media").map((name) => ({ name, ...partOf(record, "from_s", "to_s") }));
    const about = {
      id: record.has("id") ? record.name("id") : `${file}/${number + 1}`,
      media,
      text: record.text("question"),
      categories: ownCategories(record),
    };
    const options = record.texts("options");
    if (options.length > 0) return [choice(record, about, options, record.optional("answer"))];
    return [open(about, record.texts("answers", "answer"))];
  },
};

function ownCategories(record: Fields): Record<string, readonly string[]> {
  const several = record.record("category");
  if (several === undefined) return categories({ category: record.optional("category") });
  return categories(Object.fromEntries(several.names.map((name) => [name, several.texts(name)])));
}

// ------------------------------------------------------------------------------------------------ Video-MME

/**
 * Video-MME. On the hub a question a row: `video_id`, `duration`, `domain`, `sub_category`, `url`, `videoID`,
 * `question_id`, `task_type`, `question`, `options` ("A. ...") and `answer` (a letter); files are named by `videoID`.
 * In the repository a video a record, with `questions` inside, and the longer names `duration_category`,
 * `video_category`, `video_sub_category` and `choices`.
 * Source: the README of BradyFU/Video-MME and the data card of lmms-lab/Video-MME.
 */
const VIDEO_MME: Layout = {
  name: "video-mme",
  title: "Video-MME",
  suits: (record) =>
    record.has("videoID", "options") || (record.has("video_id", "questions") && !record.has("question")),
  questions(record) {
    const name = record.name("videoID", "video_id");
    const sorted = {
      duration: record.optional("duration", "duration_category"),
      domain: record.optional("domain", "video_category"),
      subcategory: record.optional("sub_category", "video_sub_category"),
    };
    const asked = record.has("questions") ? record.records("questions") : [record];
    return asked.map((one) => {
      const about = {
        id: one.name("question_id"),
        media: [{ name }],
        text: one.text("question"),
        categories: categories({ ...sorted, task: one.optional("task_type") }),
      };
      return choice(one, about, one.texts("options", "choices"), one.optional("answer"), "letter");
    });
  },
};

// ------------------------------------------------------------------------------------------ MLVU and MVBench

/**
 * MLVU: lists of `video`, `duration`, `question`, `answer`, `question_type`, and for all but the open tasks
 * `candidates`, of which `answer` is one. The test set has `question_id` and no answers.
 * Source: evaluation code of JUNJIE99/MLVU, and records as others quote them.
 */
const MLVU: Layout = {
  name: "mlvu",
  title: "MLVU",
  suits: (record) => record.has("video", "question", "question_type"),
  questions: (record, around) => [candidatesOrOpen(record, around, record.name("question_type"))],
};

/**
 * Where MVBench's tasks have their videos: some names occur in several of its sources. Source: lmms-eval's task, after
 * OpenGVLab/Ask-Anything, video_chat2/mvbench.ipynb.
 */
const MVBENCH_FOLDERS: Readonly<Record<string, string>> = {
  action_sequence: "star",
  action_prediction: "star",
  object_interaction: "star",
  action_antonym: "ssv2_video",
  fine_grained_action: "Moments_in_Time_Raw",
  unexpected_action: "FunQA_test",
  object_existence: "clevrer",
  moving_direction: "clevrer",
  moving_count: "clevrer",
  moving_attribute: "clevrer",
  counterfactual_inference: "clevrer",
  object_shuffle: "perception",
  action_count: "perception",
  state_change: "perception",
  character_order: "perception",
  action_localization: "sta",
  scene_transition: "scene_qa",
  fine_grained_pose: "nturgbd",
  egocentric_navigation: "vlnqa",
  episodic_reasoning: "tvqa",
};

/** Its only frames folders, TVQA's, have three pictures a second. */
const MVBENCH_FPS = 3;

/**
 * MVBench: a file for each of 20 tasks, named after it, with a list of `video`, `question`, `candidates`, `answer`
 * (one of them), and for some tasks `start` and `end` in seconds. Source: code that reads them in lmms-eval and in
 * JUNJIE99/MLVU, after OpenGVLab/Ask-Anything, video_chat2/mvbench.ipynb.
 */
const MVBENCH: Layout = {
  name: "mvbench",
  title: "MVBench",
  suits: (record) => record.has("video", "question", "candidates"),
  questions(record, around) {
    const question = candidatesOrOpen(record, around, around.file);
    const [media] = question.media;
    const folder = MVBENCH_FOLDERS[around.file];
    const part = { ...partOf(record, "start", "end"), cutFolder: "_segment" };
    const found = { ...(media as MediaName), fps: MVBENCH_FPS, ...part };
    return [{ ...question, media: [folder === undefined ? found : { ...found, folder }] }];
  },
};

function candidatesOrOpen(record: Fields, { file, number }: Around, task: string): SetQuestion {
  const about = {
    id: record.has("question_id") ? record.name("question_id") : `${file}/${number + 1}`,
    media: [{ name: record.name("video") }],
    text: record.text("question"),
    categories: categories({ task }),
  };
  const options = record.texts("candidates");
  if (options.length === 0) return open(about, record.texts("answer"));
  return choice(record, about, options, record.optional("answer"));
}

// -------------------------------------------------------------------------------------------------- NExT-QA

/** NExT-QA's types of questions, by their first letter. */
const NEXT_QA_GROUPS: Readonly<Record<string, string>> = { C: "causal", T: "temporal", D: "descriptive" };

/**
 * NExT-QA: CSV with `video`, `frame_count`, `width`, `height`, `question`, `answer`, `qid`, `type`, and for multiple
 * choice `a0` to `a4`, of which `answer` is the number. The open questions (NExT-OE) have a text there, and some an
 * `additional_ref_answer`. Source: dataloader of doc-doc/NExT-QA, and its column names as others quote them.
 */
const NEXT_QA: Layout = {
  name: "next-qa",
  title: "NExT-QA",
  suits: (record) => record.has("video", "question", "qid", "type"),
  questions(record) {
    const [video, type] = [record.name("video"), record.name("type")];
    const about = {
      id: `${video}_${record.name("qid")}`,
      media: [{ name: video }],
      text: record.text("question"),
      categories: categories({ group: NEXT_QA_GROUPS[type.charAt(0)], type }),
    };
    if (!record.has("a0")) {
      return [open(about, [...record.texts("answer"), ...record.texts("additional_ref_answer")])];
    }
    const options = ["a0", "a1", "a2", "a3", "a4"].map((name) => record.text(name));
    return [choice(record, about, options, record.optional("answer"), "number")];
  },
};

// ------------------------------------------------------------------------------------------ Perception Test

/**
 * Perception Test, multiple choice: one object with a video under each of its keys, whose `mc_question` is a list of
 * `id`, `question`, `options`, `answer_id`, `area`, `reasoning` and `tag`. On the hub a question a row, with
 * `video_name` and `question_id`. Source: the README of google-deepmind/perception_test, and lmms-eval's task.
 */
const PERCEPTION_TEST: Layout = {
  name: "perception-test",
  title: "Perception Test",
  suits: (record) => record.has("mc_question") || record.has("video_name", "question", "options"),
  questions(record) {
    const video =
      record.optional("video_name") ?? record.record("metadata")?.optional("video_id") ?? record.key;
    if (video === undefined) return record.fail("has no video_id");
    const asked = record.has("mc_question") ? record.records("mc_question") : [record];
    return asked.map((one) => {
      const about = {
        id: `${video}_${one.name("id", "question_id")}`,
        media: [{ name: video }],
        text: one.text("question"),
        categories: categories({
          area: one.optional("area"),
          reasoning: one.optional("reasoning"),
          tag: one.texts("tag"),
        }),
      };
      return choice(one, about, one.texts("options"), one.optional("answer_id"), "number");
    });
  },
};

// ------------------------------------------------------------------------------------------------ EgoSchema

/**
 * EgoSchema: a list of `q_uid`, `google_drive_id`, `question` and `option 0` to `option 4`; videos are named by
 * `q_uid`. The answers that are public are in `subset_answers.json`, numbers by `q_uid`. On the hub: `video_idx`,
 * `question`, `option` ("A. ...") and `answer` (a number). Source: README and files of egoschema/EgoSchema, a record as
 * others quote it, and lmms-eval's task.
 */
const EGO_SCHEMA: Layout = {
  name: "egoschema",
  title: "EgoSchema",
  suits: (record) => record.has("question", "option 0") || record.has("video_idx", "question", "option"),
  questions(record, { answers }) {
    const id =
      record.has("q_uid") || record.has("video_idx") ? record.name("q_uid", "video_idx") : record.key;
    if (id === undefined) return record.fail("has no q_uid");
    const about = { id, media: [{ name: id }], text: record.text("question"), categories: {} };
    const numbered = ["option 0", "option 1", "option 2", "option 3", "option 4"];
    const options = record.has("option")
      ? record.texts("option")
      : numbered.filter((name) => record.has(name)).map((name) => record.text(name));
    const right = answers.get(id) ?? record.optional("answer", "truth");
    return [choice(record, about, options, right, "number")];
  },
};

// --------------------------------------------------------------------------------------------------- ScanQA

/** How ScanQA sorts its questions, by how they begin; the first that fits. Source: scripts/score.py of ATR-DBI/ScanQA. */
const SCAN_QA_TYPES: readonly (readonly [string, string])[] = [
  ["Where", "place"],
  ["How many", "number"],
  ["What color", "color"],
  ["What is the color", "color"],
  ["What shape", "object nature"],
  ["What type", "object nature"],
  ["What kind", "object nature"],
  ["What is", "object"],
];

/**
 * ScanQA: a list of `scene_id`, `object_ids`, `object_names`, `question_id`, `question`, `answers`. A scene is a video,
 * or a folder of pictures, named by `scene_id`. Source: docs/dataset.md of ATR-DBI/ScanQA.
 */
const SCAN_QA: Layout = {
  name: "scanqa",
  title: "ScanQA",
  suits: (record) => record.has("scene_id", "question_id", "question"),
  questions(record) {
    const text = record.text("question");
    const type = SCAN_QA_TYPES.find(([words]) => text.includes(words))?.[1] ?? "other";
    const about = {
      id: record.name("question_id"),
      media: [{ name: record.name("scene_id") }],
      text,
      categories: categories({ type }),
    };
    return [open(about, record.texts("answers"))];
  },
};

/** All layouts; a file is of the first one that suits. */
export const LAYOUTS: readonly Layout[] = [
  OWN,
  VIDEO_MME,
  PERCEPTION_TEST,
  EGO_SCHEMA,
  SCAN_QA,
  NEXT_QA,
  MLVU,
  MVBENCH,
];

// ------------------------------------------------------------------------------------------------- together

type About = Pick<SetQuestion, "id" | "media" | "text" | "categories">;

const open = (about: About, answers: readonly string[]): OpenQuestion => ({
  ...about,
  kind: "open",
  answers: answers.filter((answer) => answer.trim() !== ""),
});

/** @param answer the right option, in the form that the set has */
function choice(
  record: Fields,
  about: About,
  written: readonly string[],
  answer: string | undefined,
  form: AnswerForm = "any",
): ChoiceQuestion {
  if (written.length < 2) record.fail("has fewer than two options");
  if (written.length > LIMITS.optionsPerQuestion) record.fail("has more options than there are letters");
  const options = withoutLetters(written);
  if (options.some((option) => option.trim() === "")) record.fail("has an option without a text");
  const right = answer === undefined ? undefined : choiceIndex(answer, written, options, form);
  if (answer !== undefined && right === undefined) record.fail("its answer is none of its options");
  return { ...about, kind: "choice", options, right };
}

/** Ways of sorting that a question has, each as a list. */
function categories(
  ways: Readonly<Record<string, string | readonly string[] | undefined>>,
): Record<string, readonly string[]> {
  const lists = Object.entries(ways).map(([way, value]) => {
    return [way, typeof value === "string" ? [value] : (value ?? [])] as const;
  });
  return Object.fromEntries(lists.filter(([, values]) => values.length > 0));
}

function partOf(record: Fields, from: string, to: string): Pick<MediaName, "part"> {
  const [fromS, toS] = [record.number(from), record.number(to)];
  if (fromS === undefined || toS === undefined) return {};
  if (fromS < 0 || toS <= fromS) return record.fail(`its stretch from ${fromS} to ${toS} s is empty`);
  return { part: { fromS, toS } };
}
