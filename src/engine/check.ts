import { z } from "zod";
import { OryxError } from "../core/errors.ts";
import type { AskRequest, TurnRequest } from "./request.ts";
import { checkTask, TASKS } from "./task.ts";

/**
 * What the types say, for callers without types. Numbers are checked for their range where they are used; here it
 * is enough that they are numbers.
 */
const NUMBER = z.number().or(z.nan()).optional();
const SOURCE = z.union([
  z.string().min(1),
  z.instanceof(Uint8Array),
  z.object({ bytes: z.instanceof(Uint8Array), name: z.string().optional() }),
]);
const FRAME = z.union([SOURCE, z.object({ source: SOURCE, timeS: NUMBER })]);
const FRAMES = z.object({ frames: z.array(FRAME), name: z.string().optional() });
const callback = z.custom<unknown>((f) => typeof f === "function", "expected a function").optional();

const REQUEST = z.strictObject({
  question: z.string().optional(),
  task: z.enum(TASKS).optional(),
  options: z.array(z.string()).optional(),
  system: z.string().optional(),
  media: z.array(z.union([SOURCE, FRAMES])).optional(),
  fps: NUMBER,
  maxFrames: NUMBER,
  compress: NUMBER,
  frameArea: NUMBER,
  part: z.strictObject({ fromS: z.number(), toS: z.number() }).optional(),
  budgetTokens: NUMBER,
  budgetSeconds: NUMBER,
  maxTokens: NUMBER,
  temperature: NUMBER,
  topK: NUMBER,
  topP: NUMBER,
  repetitionPenalty: NUMBER,
  seed: NUMBER,
  stop: z.array(z.string()).optional(),
  signal: z.instanceof(AbortSignal).optional(),
  onPlan: callback,
  onProgress: callback,
});

/** The request, when it is what its type says. @throws OryxError `bad_option`, `prompt_invalid` */
export function checkRequest<R extends TurnRequest | AskRequest>(request: R): R {
  const { error } = REQUEST.safeParse(request);
  const issue = error?.issues[0];
  if (issue) {
    const where = issue.path.join(".") || "the request";
    const remedy = where.startsWith("media")
      ? "give a path, bytes, or { frames: [...] }"
      : "give what the type AskRequest says";
    throw new OryxError("bad_option", `${where}: ${issue.message}`, remedy);
  }
  checkTask(request);
  return request;
}
