import { OryxError } from "../core/errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * How a family of models was trained to see a conversation. Both are ChatML. "qwen" (oryx_qwen) encodes role,
 * newline and text each on its own, and puts a newline after a visual; "llama" (oryx_llama) encodes all text
 * between two markers at once. Source: the released preprocessing code, held by the golden token ids.
 */
export type PromptStyle = "qwen" | "llama";

export type Role = "system" | "user" | "assistant";

/** A visual input (image or video), by its number in the request. */
export interface Visual {
  visual: number;
}

export type Part = { text: string } | Visual;

/**
 * One turn. Its parts are taken literally: where a model's training data has `<image>\nWhat is it?`, the parts are
 * `{ visual: 0 }, { text: "\nWhat is it?" }`. {@link userMessage} adds those newlines.
 */
export interface Message {
  role: Role;
  content: readonly Part[];
}

/** A piece of a prompt. Only structure makes special ids and placeholders; text stays text. */
export type Segment = Part | { special: keyof typeof SPECIALS };

/** A token id, or the place where a visual's tokens stand. */
export type PromptToken = number | Visual;

const SPECIALS = { im_start: "<|im_start|>", im_end: "<|im_end|>" } as const;

export const DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant.";

/** A user's turn: a newline sets each visual apart from what follows it. */
export function userMessage(parts: readonly Part[]): Message {
  const last = parts.length - 1;
  const content = parts.flatMap((part, i): Part[] =>
    "visual" in part && i < last ? [part, { text: "\n" }] : [part],
  );
  return { role: "user", content };
}

/**
 * A turn from training data, whose text marks visuals as `<image>`. Not for text that a user wrote.
 * @param firstVisual number of the first `<image>`; the following ones count up.
 */
export function recordMessage(role: Role, value: string, firstVisual: number): Message {
  const [head = "", ...rest] = value.split("<image>");
  const content = rest.flatMap((text, i): Part[] => [{ visual: firstVisual + i }, { text }]);
  return { role, content: [{ text: head }, ...content] };
}

/** The question about a long video in the words of the training data (the released long-video recipe). */
export function longVideoQuestion(frameCount: number, question: string): string {
  return (
    `This is a extremely long video with a total of ${frameCount} frames sampled from the video. ` +
    "Please carefully read every given frame in this video, identifying the detailed contents in every frame. " +
    question
  );
}

/** Pictures of one visual, and how they are looked at: `video_long`, or another way. */
export interface ShownVisual {
  modality: string;
  pictures: number;
}

/** A question about visuals, which come first; in the long-video prompt where a long video is alone. */
export function visualQuestion(shown: readonly ShownVisual[], question: string): Message {
  const [only] = shown;
  const isLong = shown.length === 1 && only?.modality === "video_long";
  const text = isLong ? longVideoQuestion(only.pictures, question) : question;
  return userMessage([...shown.map((_, visual) => ({ visual })), { text }]);
}

/**
 * Tokens of a conversation from its start, the default system turn first when it has none.
 * @param options.reply whether the assistant's header follows, so that the model answers (default true).
 * @throws OryxError `prompt_invalid`, `tokenizer_invalid`
 */
export function conversationPrompt(
  tokenizer: Tokenizer,
  style: PromptStyle,
  messages: readonly Message[],
  options: { reply?: boolean } = {},
): PromptToken[] {
  const [first] = messages;
  if (!first) throw new OryxError("prompt_invalid", "the conversation is empty", "ask something");
  const system: Message = { role: "system", content: [{ text: DEFAULT_SYSTEM_PROMPT }] };
  const turns = first.role === "system" ? messages : [system, ...messages];
  const segments = turns.flatMap((turn) => turnSegments(style, turn));
  if (options.reply ?? true) segments.push(...headerSegments(style, "assistant"));
  return encodeSegments(tokenizer, segments);
}

/**
 * Tokens that continue a conversation after the model's answer: they close the answer's turn, add the new turns and
 * open the next answer. What came before, then the answer's tokens, then these equal
 * {@link conversationPrompt} of everything, so a KV cache can be kept. The answer's tokens must not include the
 * `<|im_end|>` with which it stopped.
 * @throws OryxError `prompt_invalid`, `tokenizer_invalid`
 */
export function followUpPrompt(
  tokenizer: Tokenizer,
  style: PromptStyle,
  messages: readonly Message[],
): PromptToken[] {
  const turns = messages.flatMap((turn) => turnSegments(style, turn));
  return encodeSegments(tokenizer, [...END_OF_TURN, ...turns, ...headerSegments(style, "assistant")]);
}

const END_OF_TURN: readonly Segment[] = [{ special: "im_end" }, { text: "\n" }];

/** One turn: its header, its content, its end. */
export function turnSegments(style: PromptStyle, { role, content }: Message): Segment[] {
  const header = headerSegments(style, role);
  if (style === "qwen") return [...header, ...joinTexts(content).flatMap(qwenPart), ...END_OF_TURN];
  // The model's answers are encoded apart from their header in either style, because a generated one is.
  const body = role === "assistant" ? [...header, ...joinTexts(content)] : joinTexts([...header, ...content]);
  return [...body, ...END_OF_TURN];
}

/** What opens a turn: marker, role, newline. */
export function headerSegments(style: PromptStyle, role: Role): Segment[] {
  const names: Segment[] = style === "qwen" ? [{ text: role }, { text: "\n" }] : [{ text: `${role}\n` }];
  return [{ special: "im_start" }, ...names];
}

function qwenPart(segment: Segment): Segment[] {
  return "visual" in segment ? [segment, { text: "\n" }] : [segment];
}

/** Joins neighbouring texts, which are then encoded as one. */
function joinTexts(segments: readonly Segment[]): Segment[] {
  const joined: Segment[] = [];
  for (const segment of segments) {
    const last = joined.at(-1);
    if (last && "text" in last && "text" in segment) {
      joined[joined.length - 1] = { text: last.text + segment.text };
    } else {
      joined.push(segment);
    }
  }
  return joined;
}

/**
 * Tokens of segments, each encoded on its own.
 * @throws OryxError `prompt_invalid` (a text too long, a visual without a number), `tokenizer_invalid`
 */
export function encodeSegments(tokenizer: Tokenizer, segments: readonly Segment[]): PromptToken[] {
  return segments.flatMap((segment): PromptToken[] => {
    if ("text" in segment) return tokenizer.encode(segment.text);
    if ("special" in segment) return [tokenizer.special(SPECIALS[segment.special])];
    if (!Number.isInteger(segment.visual) || segment.visual < 0) {
      throw new OryxError(
        "prompt_invalid",
        `visual ${segment.visual} has no valid number`,
        "count visuals from 0",
      );
    }
    return [{ visual: segment.visual }];
  });
}
