import { z } from "zod";
import { OryxError } from "../core/errors.ts";
import type { AskRequest, ChatOptions, TurnRequest } from "./request.ts";
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

const TURN = z.strictObject({
  question: z.string().optional(),
  task: z.enum(TASKS).optional(),
  options: z.array(z.string()).optional(),
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
const CHAT = z.strictObject({ system: z.string().optional() });
const ASK = TURN.extend(CHAT.shape);

/** The question of a conversation, when it is what its type says. @throws OryxError `bad_option`, `prompt_invalid` */
export function checkTurn(request: TurnRequest): TurnRequest {
  check(TURN, request, "the request", "give what the type TurnRequest says; a system prompt goes to chat()");
  checkTask(request);
  return request;
}

/** The same of a question in a conversation of its own. */
export function checkAsk(request: AskRequest): AskRequest {
  check(ASK, request, "the request", "give what the type AskRequest says");
  checkTask(request);
  return request;
}

/** Options of a conversation, when they are what their type says. @throws OryxError `bad_option` */
export function checkChat(options: ChatOptions): ChatOptions {
  check(CHAT, options, "the conversation", "give what the type ChatOptions says");
  return options;
}

function check(schema: z.ZodType, value: unknown, whole: string, remedy: string): void {
  const issue = schema.safeParse(value).error?.issues[0];
  if (issue === undefined) return;
  const where = issue.path.join(".") || whole;
  const todo = where.startsWith("media") ? "give a path, bytes, or { frames: [...] }" : remedy;
  throw new OryxError("bad_option", `${where}: ${issue.message}`, todo);
}
